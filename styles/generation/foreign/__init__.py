"""Pictures of other programs: the settings that they carry, as a recipe."""
