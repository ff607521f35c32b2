"""The transformer blocks of a UNet, compiled by `torch.compile`: most of a step's kernels are theirs.

Each block by itself, as diffusers' `compile_repeated_blocks` does it: a tenth of the time that compiling a whole UNet
takes, and stopping is heard between them. They are used in one context alone; everything else calls the UNet as it is.
What is in a graph must not change: no patches, no hooks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from styles.text import Text

# Whose errors are no dynamo's.
COMPILERS = ("torch._inductor", "torch._dynamo", "triton")


def is_compiled(module: nn.Module) -> bool:
    """Whether a module has a compiled call, so that no hook may stand inside it."""
    return getattr(module, "compiled_call", None) is not None


class CompiledBlocks:
    """The compiled calls of a UNet's blocks, made when they are first used; a compiler that failed is not asked again."""

    def __init__(self, unet: Any, backend: str | Callable[..., Any] = "inductor") -> None:
        kinds = set(unet._repeated_blocks)
        self._blocks = [module for module in unet.modules() if type(module).__name__ in kinds]
        for block in self._blocks:
            # Not a module's own attribute of that kind, which its state would hold.
            object.__setattr__(block, "compiled_call", torch.compile(block._call_impl, backend=backend))
        # What is to be said of a compiler that failed; empty where it works.
        self.problem: Text | None = None
        self._told = False

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Let the blocks call what was compiled, in the block."""
        try:
            for block in self._blocks:
                block._compiled_call_impl = block.compiled_call
            yield
        finally:
            for block in self._blocks:
                block._compiled_call_impl = None

    def fails_with(self, error: Exception) -> bool:
        """Whether an error is the compiler's, which from now on is left alone: `problem` says why."""
        from torch._dynamo.exc import TorchDynamoException

        # There may be no C++ compiler, or no Triton.
        module = type(error).__module__
        if not isinstance(error, TorchDynamoException) and not module.startswith(COMPILERS):
            return False
        # The first line may only name the backend.
        told = (line.strip() for line in str(error).splitlines())
        lines = [line for line in told if line and not line.endswith("raised:")] or [type(error).__name__]
        self.problem = Text(
            "The model can't be compiled here ({reason}); it paints as it is.", reason=lines[0][:300]
        )
        return True

    def news(self) -> tuple[Text, ...]:
        """What is to be said of a compiler that has failed, once."""
        told = self._told
        self._told = self.problem is not None
        return (self.problem,) if self.problem is not None and not told else ()
