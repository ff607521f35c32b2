"""What computes: the device and its precision, its memory, the threads of the processor."""
