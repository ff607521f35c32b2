"""Everything that can go wrong and is told to the artist.

AtelierError                    message: what happened, with the value; hint: what to do now
 |- BadInput                    exit code 2: the request can't be done as asked
 |   |- StyleFileError          a file that is not a style we can read
 |   |- WrongFamilyError        a style for another base than the open one
 |   |- UnknownStyleError       no style of that name or id
 |   |- BlendError              weights that are no blend
 |   |- BaseError               an unknown or refused base
 |   |- RecipeError             a picture without a usable recipe
 |   |- TooLarge                a picture that takes very long, to be agreed to first
 |   |- PictureError            a file that is not a picture we can read
 |   |- PlanError               a training plan out of range
 |   |- PromptError             a prompt that can't be used
 |   `- SettingsError           a setting out of range
 `- Failure                     exit code 1: the request was fine, doing it went wrong
     |- DiskFullError
     |- JobError                a job folder that is damaged
     |   `- JobHeldError        another process works on it
     |- TrainingFailed
     |- OutOfMemory
     |- OfflineError
     `- Cancelled

`is_out_of_memory` tells from every other error what any library raises where memory has come to its end.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from styles.text import Text

LONGEST = 1400  # characters of a message or a hint; what is longer quotes something without end


def _fit_to_show(text: str) -> str:
    """Return a text, which may quote anything, without what turns its letters round or can't be written, and bounded."""
    if text.isprintable() and len(text) <= LONGEST:
        return text
    if isinstance(text, Text) and text.values:
        values = {
            name: _fit_to_show(value) if isinstance(value, str) else value
            for name, value in text.values.items()
        }
        text = Text(text.template, text.plural, **values)
    shown = "".join(
        letter if letter.isprintable() or letter == "\n" else " " * letter.isspace()
        for letter in text[: 4 * LONGEST]
    )
    shown = shown if len(shown) <= LONGEST else shown[: LONGEST - 1] + "…"
    return text if shown == text else shown


class AtelierError(Exception):
    """Base of all errors with a text for the artist; anything else is our own mistake.

    `message` and `hint` are literal templates, which `values` are put into, or finished texts. Both read in English;
    whoever shows them asks `app.i18n` for the artist's language.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "", **values: Any) -> None:
        self.message, self.hint = (
            Text.as_it_is(_fit_to_show(text if isinstance(text, Text) else Text(text, **values)))
            for text in (message, hint)
        )
        super().__init__(self.message, self.hint)

    @property
    def text(self) -> Text:
        """Message and hint."""
        return Text.joined(" ", filter(None, [self.message, self.hint]))

    def __str__(self) -> str:
        return self.text


class BadInput(AtelierError):
    """What was asked for can't be done as asked."""

    exit_code = 2


class StyleFileError(BadInput):
    """The file is not a style that can be read, or the style can't be written."""


class WrongFamilyError(BadInput):
    """The style is for another base than the one that is open."""


class UnknownStyleError(BadInput):
    """The library has no style of that name or id."""


class BlendError(BadInput):
    """The weights given are no blend."""


class BaseError(BadInput):
    """The base is unknown, damaged or refused."""


class RecipeError(BadInput):
    """The picture carries no recipe that can be used."""


class TooLarge(BadInput):
    """The picture is far beyond what the base is made for; it is painted once that is agreed to.

    It carries the time that it would take, and the largest size of its shape that suits the base.
    """

    def __init__(
        self, message: str, hint: str, *, seconds: float, width_px: int, height_px: int, **values: Any
    ) -> None:
        super().__init__(message, hint, **values, width_px=width_px, height_px=height_px)
        self.seconds = seconds
        self.width_px, self.height_px = width_px, height_px


class PictureError(BadInput):
    """The file is not a picture that can be read."""


class PlanError(BadInput):
    """A number of the training plan is out of range."""


class PromptError(BadInput):
    """The prompt can't be used."""


class SettingsError(BadInput):
    """A setting is out of range."""


class Failure(AtelierError):
    """The request was fine, but doing it went wrong."""


class DiskFullError(Failure):
    """No room left on the disk; nothing half-written was left behind."""


class JobError(Failure):
    """The job folder is damaged, or another process holds it."""


class JobHeldError(JobError):
    """Another process works on the job."""


class TrainingFailed(Failure):
    """A training could not go on."""


class OutOfMemory(Failure):
    """The device has too little memory for the request."""


class OfflineError(Failure):
    """Something has to be downloaded and the network can't be reached."""


class Cancelled(Failure):
    """The artist stopped it."""


# What torch's allocators and the libraries below it say, in lower case. Only some of it has a class of its own: a CPU
# under Linux and macOS can't allocate memory, under Windows it has not enough; C++ tells of a bad allocation.
OUT_OF_MEMORY_SIGNS = (
    "out of memory", "outofmemory", "out_of_memory", "out_of_device_memory", "out_of_host_memory",
    "out_of_resources", "can't allocate memory", "cannot allocate memory", "not enough memory", "alloc_failed",
    "bad_alloc", "bad allocation", "paging file is too small",
)  # fmt: skip


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether an error, or one that it was raised from, says that a device's or the computer's memory is full.

    Our own errors count by their class alone: their text may quote anything.
    """
    while error is not None:
        if isinstance(error, MemoryError | OutOfMemory):
            return True
        # By name, since nothing here loads torch.
        if any(kind.__name__ == "OutOfMemoryError" for kind in type(error).__mro__):
            return True
        if isinstance(error, OSError) and error.errno == errno.ENOMEM:
            return True
        if isinstance(error, RuntimeError | OSError):
            text = str(error).lower()
            if any(sign in text for sign in OUT_OF_MEMORY_SIGNS):
                return True
        error = error.__cause__
    return False


@contextmanager
def memory_errors(
    message: str, hint: str, error_class: Callable[..., AtelierError] = OutOfMemory, **values: Any
) -> Iterator[None]:
    """Raise `error_class` with these texts where the block runs out of memory; our own OutOfMemory keeps its own."""
    try:
        yield
    except OutOfMemory:
        raise
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise error_class(message, hint, **values) from error
