"""The first start: a Python of Atelier's own, with the torch that fits. Standard library only."""
