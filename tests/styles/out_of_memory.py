"""How every device and system that we know of says that its memory is full."""

from __future__ import annotations

import torch


def caused(error: Exception, cause: Exception) -> Exception:
    """An error that was raised from another one, as libraries do that wrap what happens in them."""
    error.__cause__ = cause
    return error


MEMORY_FULL = {
    "cuda": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
    "hip": RuntimeError("HIP out of memory. Tried to allocate 2.00 GiB (GPU 0; 7.98 GiB total capacity)"),
    "mps": RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GiB, max allowed: 9.07 GiB)."),
    "xpu": RuntimeError("XPU out of memory. Tried to allocate 1.00 GiB"),
    "sycl": RuntimeError("level_zero backend failed with error: 39 (UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY)"),
    "cublas": RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    "linux": RuntimeError(
        "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to "
        "allocate 68719476736 bytes. Error code 12 (Cannot allocate memory)"
    ),
    "windows": RuntimeError(
        "[enforce fail at alloc_cpu.cpp:121] data. DefaultCPUAllocator: not enough memory: you tried to allocate "
        "68719476736 bytes."
    ),
    "c++": RuntimeError("std::bad_alloc"),
    "c++ under windows": RuntimeError("bad allocation"),
    "python": MemoryError(),
    "paging file": OSError("The paging file is too small for this operation to complete. (os error 1455)"),
    "wrapped": caused(ValueError("the backend failed"), caused(RuntimeError("inner"), MemoryError())),
}
