"""What the commands share: their common options, the studio and the console of this run."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from app.cli.console import Console
from styles.errors import BadInput
from styles.storage.home import Home, expanded
from styles.storage.setting import Declared, settings_of

if TYPE_CHECKING:
    from app.studio import Studio

HomeOption = Annotated[
    Path | None,
    typer.Option("--home", help="The folder of your styles and pictures.", show_default="~/Atelier"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Answer with one JSON object on standard output.")]
BaseOption = Annotated[
    str, typer.Option("--base", help="A base's name, folder, file or Hub id.", show_default="the one in use")
]


@dataclass(frozen=True)
class DeviceOptions:
    """Where this run computes, instead of what the settings say."""

    device: Annotated[
        str | None,
        typer.Option("--device", help="auto, cpu, cuda, cuda:1, mps, xpu.", show_default="as in Settings"),
    ] = None
    precision: Annotated[
        str | None,
        typer.Option("--precision", help="auto, fp32, fp16 or bf16.", show_default="as in Settings"),
    ] = None

    def apply(self, studio: Studio) -> None:
        """Let the studio compute there, until it is closed; raises SettingsError."""
        given: Any = {name: value for name, value in asdict(self).items() if value is not None}
        studio.settings = replace(studio.settings, **given)


def option(declared: Declared) -> Any:
    """A setting as an option of the command line."""
    setting, words = declared.setting, [f"--{declared.name.replace('_', '-')}"]
    shown: dict[str, Any] = {"help": setting.option or setting.help or ", ".join(setting.choices)}
    if setting.unset or setting.slider:
        shown["show_default"] = setting.unset or f"{setting.usual:g}"
    if bool in (declared.kind, *get_args(declared.kind)):
        words = [f"{words[0]}/--no-{words[0].removeprefix('--')}"]
    if setting.unit == "x":
        times = [f"{by:g}x" for by in setting.offered]
        return Annotated[declared.kind, typer.Option(*words, parser=_times, metavar="|".join(times), **shown)]
    return Annotated[declared.kind, typer.Option(*words, **shown)]


def given_in(context: typer.Context, *kinds: type[Any]) -> frozenset[str]:
    """The settings of these classes that were typed, by the names of their fields."""
    declared = [one for kind in kinds for one in settings_of(kind).values()]
    return frozenset(
        one.field
        for one in declared
        if (source := context.get_parameter_source(one.name)) and source.name == "COMMANDLINE"
    )


def _times(text: str) -> float:
    try:
        return float(text.strip().lower().removesuffix("x"))
    except ValueError:
        raise BadInput(
            "{text!r} is no size for a second pass.", hint="Write it as 1.5x or 2x.", text=text
        ) from None


def home_folder(folder: Path | None) -> Home:
    """The home in `folder`, else the one that the environment names."""
    return Home(expanded(folder).absolute()) if folder else Home.default(os.environ)


def open_studio(context: typer.Context, home: Path | None) -> Studio:
    """The studio of this run; `--home` may stand before any word of the command or after it."""
    from app.studio import Studio

    at: Any = context
    while home is None and at is not None:
        home, at = at.params.get("home"), at.parent
    studio = Studio(home_folder(home))
    for problem in studio.problems():
        console_of(context).say(str(problem))
    return studio


def command_group(about: str) -> typer.Typer:
    """Commands with a first word in common; before the second, too, they take the options that all commands take."""
    group = typer.Typer(help=about, no_args_is_help=True, rich_markup_mode=None)

    @group.callback()
    def shared(home: HomeOption = None, as_json: JsonOption = False) -> None:
        pass

    return group


def console_of(context: typer.Context) -> Console:
    """The console that `main` opened for this run."""
    console: Console = context.obj
    return console
