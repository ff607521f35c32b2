"""Several styles on one base: layer patches, the model patcher, gains, blends, strength, conflicts and baking."""
