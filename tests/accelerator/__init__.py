"""The accelerator's path, checked without one: bytes and kernels are counted, and a pretend device computes."""
