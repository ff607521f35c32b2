"""What the artist has chosen once for all: one small JSON file in the home."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, fields
from pathlib import Path
from typing import Annotated

from app.i18n import LANGUAGES
from styles.errors import SettingsError
from styles.storage.atomic import set_aside, write_private
from styles.storage.file_reading import read_json, why
from styles.storage.home import Home
from styles.storage.names import clean_text
from styles.storage.setting import Setting, settings
from styles.text import Text

LANGUAGE_CHOICES = ("auto", *LANGUAGES)
EXPERT = Text("For those who know")
DEVICES = r"auto|cpu|mps|(cuda|xpu)(:[0-9]{1,2})?"


@settings(SettingsError, "The setting {name} is {value}.")
class Settings:
    """Choices that outlive the window; checked on construction, raises SettingsError.

    What has a label is asked for on the page of the machine, in this order.
    """

    # One picture at a time, decoded in tiles, only the parts at work on the card; trainings keep less and recompute.
    low_memory: Annotated[
        bool,
        Setting(
            "Low-memory mode",
            "Memory is spared by itself where a picture or a training would not fit. This does it always: slower, it leaves room for other programs. Pictures are painted one at a time and in tiles, with only what is at work on the graphics card, and trainings compute twice what they would else keep.",
        ),
    ] = False
    # Hash styles and paint pictures for their cards.
    idle_work: Annotated[
        bool,
        Setting(
            "Work while nobody does",
            "Styles are looked through, and pictures for their cards painted, when nothing else runs.",
        ),
    ] = True
    safety_checker: Annotated[
        bool,
        Setting(
            "Use the base's safety checker if it has one", "It blacks out pictures that it takes for nudity."
        ),
    ] = True
    # Where pictures are made and styles trained; one of several cards by its number, here now or not.
    device: Annotated[
        str,
        Setting("Device", "auto: the fastest one", group=EXPERT),
    ] = "auto"
    # Of the base that paints and is trained on.
    precision: Annotated[
        str,
        Setting(
            "Precision",
            "auto: the fastest one that works on the device, or what a training that goes on began with; fp32 where pictures come out black or numbers overflow",
            choices=("auto", "fp32", "fp16", "bf16"),
            group=EXPERT,
        ),
    ] = "auto"
    # Of the base that paints.
    compile: Annotated[
        bool,
        Setting(
            "Compile the model",
            "For many pictures of one size on a graphics card: the first one takes minutes longer, and so may each new size; stopping may wait a little longer within a step.",
            group=EXPERT,
        ),
    ] = False
    # Of all texts, from the next start on; auto is the system's.
    language: Annotated[str, Setting(choices=LANGUAGE_CHOICES)] = "auto"
    # Other devices may use the window, from the next start on, with a password as `app.password` keeps it.
    shared: bool = False
    password: Annotated[str, Setting(refused="The setting password is no text.")] = ""
    # The tour of the first start was gone through or put away.
    tour_seen: bool = False

    def __post_init__(self) -> None:
        if not re.fullmatch(DEVICES, self.device):
            raise SettingsError(
                "The setting {name} is {value}.",
                "Choose auto, cpu, cuda, cuda:1, mps or xpu.",
                name="device",
                value=clean_text(self.device, 80),
            )
        if self.shared and not self.password:
            raise SettingsError(
                "Other devices are let in with a password only.", hint="Choose a password first."
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
        names = {field.name for field in fields(Settings)}
        return Settings(**{name: value for name, value in saved.items() if name in names})

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
