"""One part of a base loaded whole: the libraries only warn where weights are missing, and make them up by chance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from styles.errors import AtelierError, BaseError, OutOfMemory, is_out_of_memory
from styles.storage.names import clean_text
from styles.text import Text

if TYPE_CHECKING:
    import torch
    from torch import Tensor

FETCH_AGAIN = Text("Fetch it again.")


@contextmanager
def loading_errors(name: str, device: torch.device) -> Iterator[None]:
    """Raise BaseError for what the libraries raise of malformed configs and weights, OutOfMemory where memory is full."""
    try:
        yield
    except AtelierError:
        raise
    except Exception as error:  # the libraries raise anything
        if not is_out_of_memory(error):
            reason = clean_text(str(error) or type(error).__name__, 300)
            raise BaseError(
                "{file} can't be opened as a base ({reason}).", FETCH_AGAIN, file=name, reason=reason
            ) from error
        raise OutOfMemory(
            "{file} does not fit into the computer's memory."
            if device.type == "cpu"
            else "{file} does not fit into the memory of {device}.",
            "Close other programs, or use a smaller base.",
            file=name,
            device=device,
        ) from error


def check_loaded(model: Any, info: Mapping[str, Any], name: str, part: str, hint: Text = FETCH_AGAIN) -> None:
    """Raise BaseError where weights were missing or of another shape, which would be made up by chance.

    `info` is what `from_pretrained` tells with `output_loading_info`.
    """
    parameters = {key for key, _ in model.named_parameters()}
    wrong_keys = [*info.get("missing_keys", ()), *info.get("mismatched_keys", ())]
    keys = [key if isinstance(key, str) else key[0] for key in wrong_keys]
    missing = sorted(key for key in keys if key in parameters)
    if missing:
        raise BaseError(
            "{name} lacks {count} tensors of its {part}, such as {missing}.",
            hint,
            name=name,
            count=len(missing),
            part=part,
            missing=missing[0],
        )


def load_part(
    model_class: Any, folder: Path, variant: str | None, name: str, part: str, **precision: torch.dtype
) -> Any:
    """Return a model from its folder in diffusers layout; raises BaseError where some of its tensors are missing.

    `precision` is what its library calls the dtype. Raises what the library raises.
    """
    model, info = model_class.from_pretrained(
        folder, use_safetensors=True, variant=variant, local_files_only=True, output_loading_info=True, **precision
    )  # fmt: skip
    check_loaded(model, info, name, part)
    return model


def build(
    model_class: Any,
    config: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    dtype: torch.dtype,
    name: str,
    part: str,
) -> Any:
    """Return a diffusers model with these tensors by its own names; raises BaseError where some are missing.

    Raises what torch raises for other shapes.
    """
    import torch

    with torch.device("meta"):
        model = model_class.from_config(config)
    missing, _ = model.load_state_dict(tensors, strict=False, assign=True)
    check_loaded(model, {"missing_keys": missing}, name, part)
    return model.to(dtype)
