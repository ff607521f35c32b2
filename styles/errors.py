"""Everything that can go wrong and is told to the artist.

AtelierError                    message: what happened, with the value; hint: what to do now
 |- BadInput                    exit code 2: the request can't be done as asked
 |   |- StyleFileError          a file that is not a style we can read
 |   |- WrongFamilyError        a style for another base than the open one
 |   |- UnknownStyleError       no style of that name or id
 |   |- BlendError              weights that are no blend
 |   |- BaseError               an unknown or refused base
 |   |- RecipeError             a picture without a usable recipe
 |   |- PictureError            a file that is not a picture we can read
 |   |- PlanError               a training plan out of range
 |   |- PromptError             a prompt that can't be used
 |   `- SettingsError           a setting out of range
 `- Failure                     exit code 1: the request was fine, doing it went wrong
     |- DiskFullError
     |- JobError                a job folder that is damaged or busy
     |- TrainingFailed
     |- OutOfMemory
     |- OfflineError
     `- Cancelled
"""


class AtelierError(Exception):
    """Base of all errors with a text for the artist; anything else is our own mistake."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


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


class TrainingFailed(Failure):
    """A training could not go on."""


class OutOfMemory(Failure):
    """The device has too little memory for the request."""


class OfflineError(Failure):
    """Something has to be downloaded and the network can't be reached."""


class Cancelled(Failure):
    """The artist stopped it."""
