"""Files on the artist's disk: the home, atomic writes, names, locks, and reading what anybody may have put there."""
