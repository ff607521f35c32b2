"""What the artist has chosen once for all: one small JSON file in the home."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from app.i18n import LANGUAGES
from styles.errors import SettingsError
from styles.storage.atomic import set_aside, write_private
from styles.storage.file_reading import read_json, why
from styles.storage.home import Home
from styles.storage.names import clean_text

DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "fp32", "fp16", "bf16")
LANGUAGE_CHOICES = ("auto", *LANGUAGES)
SWITCHES = ("safety_checker", "idle_work", "low_memory", "shared", "tour_seen")


@dataclass(frozen=True)
class Settings:
    """Choices that outlive the window; checked on construction, raises SettingsError."""

    safety_checker: bool = True  # use a base's own safety checker when it brings one
    device: str = "auto"  # where pictures are made and styles trained
    precision: str = "auto"  # of the base that paints
    low_memory: bool = False  # one picture at a time, decoded in tiles; trainings keep less and recompute
    shared: bool = False  # other devices may use the window, from the next start on
    password: str = ""  # of other devices, as `app.password` keeps it
    tour_seen: bool = False  # the tour of the first start was gone through or put away
    language: str = "auto"  # of all texts, from the next start on; auto is the system's
    idle_work: bool = True  # hash styles and paint pictures for their cards while nobody works

    def __post_init__(self) -> None:
        for name in SWITCHES:
            switch = getattr(self, name)
            if not isinstance(switch, bool):
                raise SettingsError(
                    "The setting {name} is {value}.",
                    hint="It must be true or false.",
                    name=name,
                    value=clean_text(repr(switch), 80),
                )
        if not isinstance(self.password, str):
            raise SettingsError("The setting password is no text.", hint="Choose a password anew.")
        if self.shared and not self.password:
            raise SettingsError(
                "Other devices are let in with a password only.", hint="Choose a password first."
            )
        for name, value, known in (
            ("device", self.device, DEVICES),
            ("precision", self.precision, PRECISIONS),
            ("language", self.language, LANGUAGE_CHOICES),
        ):
            if value not in known:
                raise SettingsError(
                    "The setting {name} is {value}.",
                    hint="Choose one of {allowed}.",
                    name=name,
                    value=clean_text(repr(value), 80),
                    allowed=", ".join(known),
                )

    @staticmethod
    def path(home: Home) -> Path:
        """The file that holds the settings of this home."""
        return home.root / "settings.json"

    @staticmethod
    def load(home: Home) -> Settings:
        """Read the settings of this home; the defaults where none were saved. Unknown names are ignored."""
        path = Settings.path(home)
        try:
            saved = read_json(path)
        except FileNotFoundError:
            return Settings()
        except (OSError, ValueError) as error:
            raise SettingsError(
                "The settings in {path} can't be read ({reason}).",
                hint="Delete that file to begin again.",
                path=path,
                reason=why(error),
            ) from error
        if not isinstance(saved, dict):
            raise SettingsError(
                "{path} holds no settings.", hint="Delete that file to begin again.", path=path
            )
        known = {field.name for field in fields(Settings)}
        return Settings(**{name: value for name, value in saved.items() if name in known})

    @staticmethod
    def load_what_can_be(home: Home) -> tuple[Settings, SettingsError | None]:
        """The settings of this home, or the defaults and why; what is wrong with them keeps nothing from starting."""
        try:
            return Settings.load(home), None
        except SettingsError as error:
            return Settings(), error

    def save(self, home: Home) -> None:
        """Write the settings atomically, for this user's eyes only: the hash of the password stands in them.

        What can't be read of them is set aside.
        """
        if Settings.load_what_can_be(home)[1] is not None:
            set_aside(Settings.path(home))
        write_private(Settings.path(home), json.dumps(asdict(self), indent=2) + "\n")
