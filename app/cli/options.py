"""What the commands share: their common options, the studio and the console of this run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.console import Console
from styles.storage.home import Home, expanded

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
