"""One answer to whether memory is full, for every device; and every error of the tree is in the picture of it."""

from __future__ import annotations

import errno

import pytest

from styles import errors
from styles.errors import AtelierError, BaseError, OutOfMemory, PromptError, is_out_of_memory, memory_errors
from tests.styles.out_of_memory import MEMORY_FULL, caused


@pytest.mark.parametrize("device", MEMORY_FULL)
def test_every_devices_words_for_full_memory_are_known(device: str) -> None:
    assert is_out_of_memory(MEMORY_FULL[device])
    with pytest.raises(OutOfMemory, match="Too full") as told, memory_errors("Too full.", "Close some."):
        raise MEMORY_FULL[device]
    assert told.value.__cause__ is MEMORY_FULL[device] and told.value.hint == "Close some."


def test_what_only_speaks_of_memory_is_something_else() -> None:
    others = (
        PromptError("“out of memory” is no prompt."),
        caused(BaseError("It can't be opened."), RuntimeError("mat1 and mat2 shapes cannot be multiplied")),
        RuntimeError("Expected all tensors to be on the same device"),
        ValueError("out of memory"),
        FileNotFoundError(errno.ENOENT, "No such file or directory"),
    )
    assert not any(map(is_out_of_memory, (None, *others)))
    assert is_out_of_memory(OSError(errno.ENOMEM, "whatever the system says"))
    for other in others:
        with pytest.raises(type(other)) as told, memory_errors("Too full.", ""):
            raise other
        assert told.value is other
    own = OutOfMemory("The first words.")
    with pytest.raises(OutOfMemory) as told, memory_errors("Other words.", ""):
        raise own
    assert told.value is own


def test_the_picture_of_the_tree_shows_every_error() -> None:
    kinds = [
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, AtelierError)
    ]
    assert len(kinds) > 15 and all(kind.__name__ in (errors.__doc__ or "") for kind in kinds)


def test_what_an_error_quotes_can_be_shown_and_ends() -> None:
    error = BaseError(
        "{name} is odd.", "Not {word}.", name="x" * 5000 + "\u202e", word="a\x1b[31m\ud800\nb\u00a0c"
    )
    assert len(error.message) < 2000 and error.message.endswith("…")
    assert error.hint == "Not a[31m\nb c." and error.hint.template == "Not {word}."
