"""The command line: each command reads its arguments, asks the studio, and says the answer.

Without a subcommand the window opens. `main` never lets a traceback reach the artist; it returns 0 when all is well,
2 for bad input, 1 for a failure.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Annotated

import typer

from app.cli.bases import bases_commands
from app.cli.blends import add_mix_commands, blends_commands
from app.cli.console import open_console
from app.cli.create import create
from app.cli.jobs import jobs_commands
from app.cli.library import styles_commands
from app.cli.options import (
    BaseOption,
    DeviceOptions,
    HomeOption,
    JsonOption,
    console_of,
    home_folder,
    open_studio,
    option,
)
from app.i18n import say, speak
from app.log import surprise_message
from app.orders import TrainingOrder
from app.settings import Settings
from app.setup.nf4 import pip_command
from app.signatures import spread
from styles.devices.garbage import collection_paused
from styles.errors import AtelierError, BadInput, Cancelled, Failure, SettingsError
from styles.quantization.quantization import is_bitsandbytes_installed
from styles.storage.atomic import check_folder
from styles.storage.home import Home, expanded
from styles.text import Text
from training.settings import TrainingSettings

commands = typer.Typer(
    name="launch.py",
    help="Train a style from a handful of pictures, mix styles with sliders, share them as one small file.",
    add_completion=False,
    no_args_is_help=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
INTERRUPTED = 130  # what typer makes of Ctrl+C

add_mix_commands(styles_commands)
commands.command("create")(spread(create, option))
commands.add_typer(styles_commands, name="styles")
commands.add_typer(blends_commands, name="blends")
commands.add_typer(bases_commands, name="bases")
commands.add_typer(jobs_commands, name="jobs")


def main(argv: list[str]) -> int:
    """Run one command line (without the program's name) and return its exit code."""
    as_json = "--json" in argv
    console = open_console(as_json)
    named = _home_in(argv)
    home = home_folder(Path(named) if named else None)
    speak(_language_of(home))
    try:
        if named == "":
            raise BadInput("--home names no folder.", "Give one, or leave --home out.")
        # What a library prints must not mix with the answer.
        with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
            code = commands(args=argv, prog_name="launch.py", standalone_mode=False, obj=console)
        if code == INTERRUPTED:
            console.step_end()
            console.refuse(Cancelled("Stopped."))
            return Cancelled.exit_code
        return code if isinstance(code, int) else 0
    except AtelierError as error:
        console.step_end()
        console.refuse(error)
        return error.exit_code
    except typer.Abort:
        return 1
    except UnicodeEncodeError as error:
        console.step_end()
        console.refuse(
            BadInput(
                "“{text}” holds something that is no character.", hint="Type it anew.", text=error.object[:80]
            )
        )
        return BadInput.exit_code
    except Exception as error:
        if type(error).__module__.startswith(("typer", "click")):
            console.refuse(
                BadInput(Text.as_it_is(_usage_message(error)), hint="Add --help to see what can be given.")
            )
            return BadInput.exit_code
        console.step_end()
        console.refuse(Failure(surprise_message(home, error, f"running {_command_of(argv)}".strip())))
        return Failure.exit_code


def _language_of(home: Home) -> str:
    """The language that was chosen in this home; whoever opens the studio is told what is wrong with its settings."""
    try:
        return Settings.load(home).language
    except (AtelierError, OSError):
        return "auto"


def _usage_message(error: Exception) -> str:
    message = getattr(error, "format_message", lambda: str(error))()
    return message if message.endswith(".") else f"{message}."


def _command_of(argv: list[str]) -> str:
    """The command that `argv` begins with, one or two words, without `--home` and its folder."""
    words = [
        argument
        for before, argument in zip(["", *argv], argv, strict=False)
        if before != "--home" and not argument.startswith("-")
    ]
    return " ".join(words[:2])


def _home_in(argv: list[str]) -> str | None:
    """The home that `argv` names, None where it names none: the log must be found even when parsing fails."""
    for place, argument in enumerate(argv):
        if argument == "--home" and place + 1 < len(argv):
            return argv[place + 1]
        if argument.startswith("--home="):
            return argument.removeprefix("--home=")
    return None


@commands.callback(invoke_without_command=True)
def window(
    context: typer.Context,
    home: HomeOption = None,
    port: Annotated[int | None, typer.Option("--port", min=1, max=65535, help="Port of the page.")] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Don't open the browser.")] = False,
    native: Annotated[
        bool,
        typer.Option("--window", help="Open a window of its own instead of the browser (needs pywebview)."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Open the window, or run one command."""
    if context.invoked_subcommand is not None:
        return
    with collection_paused():
        from app.window import serve

    serve(open_studio(context, home), port=port, open_browser=not no_browser, native=native)


@commands.command()
def setup(
    context: typer.Context,
    newest: Annotated[
        bool, typer.Option("--newest", help="Take the newest packages that may work, untested together.")
    ] = False,
    nf4: Annotated[
        bool, typer.Option("--nf4", help="Also what keeps a base in four bits (NF4): bitsandbytes.")
    ] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Only set up: launch.py has installed what is needed by the time that this runs."""
    if nf4 and not is_bitsandbytes_installed():  # this Python is not the one that launch.py looks after
        raise SettingsError(
            "What NF4 needs is not installed in the Python that runs this.",
            "Install it there: {command}",
            command=pip_command(Path(__file__).parents[2]),
        )
    studio = open_studio(context, home)
    console_of(context).answer(
        {"home": str(studio.home.root)},
        say("Atelier is set up. Your files live in {folder}.", folder=studio.home.root),
    )


def train(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="What the style is called.")],
    pictures: Annotated[list[Path], typer.Argument(help="Artworks, or folders of them.", show_default=False)],
    base: BaseOption = "",
    preset: Annotated[str, typer.Option(help="quick, balanced or thorough.")] = "balanced",
    trigger: Annotated[
        str, typer.Option(help="The word that calls the style.", show_default="made from NAME")
    ] = "",
    *,
    settings: TrainingSettings,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Any number of the window's Advanced, such as preview_every=50.",
        ),
    ] = None,
    prompts: Annotated[
        list[str] | None,
        typer.Option(
            "--preview-prompt",
            help="What a preview shows; several may be given.",
            show_default="the preset's",
        ),
    ] = None,
    like: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Take over the settings of kohya_ss (JSON), sd-scripts (TOML) or OneTrainer (JSON); what is given "
            "beside it counts more.",
            show_default=False,
        ),
    ] = None,
    caption_extension: Annotated[
        str, typer.Option(help="Ending of the captions' files.", show_default=".txt, then .caption")
    ] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be trained on, how, and what is left out.")
    ] = False,
    begun: Annotated[
        str, typer.Option("--continue", metavar="STYLE", help="Go on from this finished style.")
    ] = "",
    author: Annotated[str, typer.Option(help="Written into the style file.")] = "",
    licence: Annotated[str, typer.Option("--licence", "--license", help="Written into the style file.")] = "",
    rights: Annotated[
        str, typer.Option(help="Your statement of the right to the artworks, written into the style file.")
    ] = "",
    where: DeviceOptions,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a style from a handful of pictures."""
    from app.cli.follow import follow_on_console
    from app.train.form import settings_from
    from app.train.other_settings import order_like

    texts = [*(setting or ()), *(f"preview_prompts={prompt}" for prompt in prompts or ())]
    order = TrainingOrder(
        name=name, pictures=tuple(pictures), base=base, preset=preset, trigger=trigger,
        settings=settings_from(texts, settings), author=author, licence=licence, continue_from=begun, rights=rights,
        caption_ending=caption_extension,
    )  # fmt: skip
    console, studio = console_of(context), open_studio(context, home)
    where.apply(studio)
    if like is not None:
        order, lines = order_like(studio, order, like)
        for line in lines:
            console.say(line)
    if not dry_run:
        studio.trainings.refuse_second()
    found = studio.survey_training(order)
    if dry_run:
        console.answer(found.facts(), "\n".join(found.lines()))
        return
    for words in (found.counted(), *found.remarked()):
        console.say(words)
    job = studio.start_training(order, found.known)
    result = follow_on_console(studio, job, console)
    console.answer(result, say("{name} is ready: {path}", name=result["name"], path=result["style"]))


commands.command("train")(spread(train, option))


@commands.command()
def demo(
    context: typer.Context,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the sheet, the styles and the report.", show_default="demo in your home folder"
        ),
    ] = None,
    base: Annotated[str, typer.Option("--base", help="The base to show it on.")] = "starter",
    steps: Annotated[
        int | None, typer.Option(help="Training steps of each style.", show_default="quick")
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train two styles, mix them, and draw one sheet that shows it."""
    from app.cli.demo import DemoPlan, run_demo

    console, studio = console_of(context), open_studio(context, home)
    plan = DemoPlan(base=base, steps=steps)
    folder = expanded(out).absolute() if out else studio.home.root / "demo"
    check_folder(folder)
    report = run_demo(studio, folder, plan, say=console.say)
    console.answer(report, say("The sheet is {path}", path=report["sheet"]))
