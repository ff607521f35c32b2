"""Stopping inside a model's forward and backward, in front of its next block.

A step of a large picture takes minutes on a CPU. What is asked for meanwhile is heard by raising from inside the model;
`styles.bases.slices` does the same for single operations that take long. Nothing changes what is computed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from styles.bases.compiled_blocks import is_compiled
from styles.errors import Cancelled

if TYPE_CHECKING:
    from styles.bases.base import Base


def stopped() -> Cancelled:
    """What is raised from inside a forward."""
    return Cancelled("Stopped in the middle of a step.")


def models_of(base: Base) -> list[nn.Module]:
    """All models of a base that take their time."""
    models = (base.unet, base.vae, *base.text_encoders, base.safety_checker)
    return [model for model in models if isinstance(model, nn.Module)]


@contextmanager
def stopping(
    models: Iterable[nn.Module], cancelled: Callable[[], bool], stop: Callable[[], Exception]
) -> Iterator[None]:
    """Ask `cancelled` in front of each block of the models, forward and backward, and raise `stop()` once it is true.

    In front of each convolution, too, since one at a picture's full size takes long; not within a block that may be
    compiled (see `compiled_blocks`). A block without gradients costs a call of `cancelled`; the models are as before
    after the `with` block.
    """

    def look(*_: Any) -> None:
        if cancelled():
            raise stop()

    def look_backward(module: nn.Module, inputs: Any, output: Any) -> None:
        tensor = output[0] if isinstance(output, tuple) and output else output
        if isinstance(tensor, Tensor) and tensor.requires_grad:
            tensor.register_hook(look)  # returns None, which leaves the gradient as it is

    handles = [
        handle
        for module in _blocks(models)
        for handle in (module.register_forward_pre_hook(look), module.register_forward_hook(look_backward))
    ]
    del models  # one that is given up meanwhile is not to be held here
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _blocks(models: Iterable[nn.Module]) -> Iterator[nn.Module]:
    for model in models:
        yield from _inner_blocks(model)


def _inner_blocks(module: nn.Module) -> Iterator[nn.Module]:
    for child in module.children():
        # In what is compiled, a hook would stand in the graph.
        if is_compiled(child):
            continue
        if isinstance(child, nn.Conv2d) or any(child.children()):
            yield child
        yield from _inner_blocks(child)


def at_most_every(seconds: float, question: Callable[[], bool]) -> Callable[[], bool]:
    """A question that is dear to ask, asked again only after so long; in between the last answer holds."""
    asked_at, answer = -math.inf, False

    def ask() -> bool:
        nonlocal asked_at, answer
        if time.monotonic() - asked_at >= seconds:
            asked_at, answer = time.monotonic(), question()
        return answer

    return ask
