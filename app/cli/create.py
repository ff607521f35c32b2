"""The command `create`: pictures with a blend of styles, and sheets that compare its weights."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli.console import Console
from app.cli.mix import MixOptions, names_and_weights
from app.cli.options import DeviceOptions, HomeOption, JsonOption, console_of, given_in, open_studio
from app.create.mix_orders import SheetOrder
from app.create.painting import Notice, Painted, Painting, PictureSaved
from app.i18n import say
from app.orders import PictureOrder
from styles.errors import BadInput, TooLarge
from styles.generation.comparison_grids import STRIP_WEIGHTS
from styles.generation.png_recipe import read_recipe
from styles.generation.prompt_tags import without_tags
from styles.generation.settings import PassSettings, PictureSettings
from styles.storage.atomic import check_folder
from styles.storage.home import expanded
from styles.storage.names import safe_name


@dataclass(frozen=True)
class SheetOptions:
    """A sheet as it is typed."""

    strip: Annotated[
        str | None,
        typer.Option(
            "--strip",
            metavar="NAME[=W,W,…]",
            help="One style at several weights, and a sheet that shows them.",
            show_default=f"at {', '.join(f'{weight:g}' for weight in STRIP_WEIGHTS)}",
        ),
    ] = None
    blend_map: Annotated[
        str | None,
        typer.Option("--map", metavar="A,B[,C[,D]]", help="Two to four styles over a grid, on a sheet."),
    ] = None
    grid: Annotated[
        str | None, typer.Option("--grid", help="Columns and rows of the map.", show_default="3x3")
    ] = None
    leave_one_out: Annotated[
        bool, typer.Option("--leave-one-out", help="The mix, and again without each style, on a sheet.")
    ] = False

    def order(self) -> SheetOrder | None:
        """Read which sheet is wished, None for none; raises BadInput."""
        if (self.strip is not None) + (self.blend_map is not None) + self.leave_one_out > 1:
            raise BadInput(
                "Only one sheet can be made at once.", hint="Choose --strip, --map or --leave-one-out."
            )
        if self.grid is not None and self.blend_map is None:
            raise BadInput(
                "There is no map to lay out.", hint="Say which styles with --map, or leave --grid away."
            )
        if self.strip is not None:
            name, weights = names_and_weights(self.strip)
            return SheetOrder("strength strip", (name,), weights or STRIP_WEIGHTS)
        if self.blend_map is not None:
            names = tuple(name.strip() for name in self.blend_map.split(",") if name.strip())
            columns, x, rows = (self.grid or "3x3").lower().partition("x")
            if not (x and columns.strip().isdecimal() and rows.strip().isdecimal()):
                raise BadInput("{grid!r} is no grid.", hint="Write it as 3x3, columns first.", grid=self.grid)
            return SheetOrder("blend map", names, columns=int(columns), rows=int(rows))
        return SheetOrder("leave one out") if self.leave_one_out else None


def create(
    context: typer.Context,
    prompt: Annotated[
        str | None, typer.Argument(help="What to paint; (word:1.2) weighs a word.", show_default=False)
    ] = None,
    *,
    mix: MixOptions,
    save_blend: Annotated[
        str | None, typer.Option("--save-blend", metavar="NAME", help="Keep the blend under this name.")
    ] = None,
    sheet: SheetOptions,
    image: Annotated[Path | None, typer.Option("--image", help="Start from this picture.")] = None,
    passes: PassSettings,
    settings: PictureSettings,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the pictures.", show_default="the home's")
    ] = None,
    again: Annotated[
        Path | None, typer.Option("--from", help="Make this picture again.", show_default=False)
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Paint a size far beyond the base's, however long it takes.")
    ] = False,
    plain_prompt: Annotated[bool, typer.Option("--plain-prompt", help="Don't add trigger words.")] = False,
    where: DeviceOptions,
    compiled: Annotated[
        bool | None,
        typer.Option(
            "--compile/--no-compile",
            help="Compile the model, for many pictures of one size.",
            show_default="as in Settings",
        ),
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Paint pictures with a blend of styles."""
    if prompt is None and again is None:
        raise BadInput("There is no prompt.", hint="Say what to paint, or name a picture with --from.")
    page = sheet.order()
    if save_blend is not None:
        safe_name(save_blend, "blend")
        if page is not None and page.varies:
            raise BadInput(
                "The pictures of a {kind} have not one blend to save.",
                hint="Save it without one.",
                kind=page.kind,
            )
    if again is not None and prompt is not None and not prompt.strip():
        prompt = None  # the picture's own
    out, again = (path and expanded(path) for path in (out, again))
    if out is not None:
        check_folder(out)
    console, studio = console_of(context), open_studio(context, home)
    where.apply(studio)
    if compiled is not None:
        studio.settings = replace(studio.settings, compile=compiled)
    mixed = mix.order(studio.blends)
    named = mixed.styles or mixed.start.parts or without_tags(prompt or "").styles
    if save_blend is not None and again is None and not named:
        raise BadInput("There is no style in the blend to keep.", hint="Mix some styles first.")
    wish = PictureOrder(
        prompt or "", settings, image=image, mix=mixed, sheet=page, add_triggers=not plain_prompt, agreed=yes
    )
    given = given_in(context, PictureSettings, PassSettings)
    changed = wish != PictureOrder("", settings, agreed=yes) or given - {"base"}
    if again is None:
        done = _paint(console, studio.create(replace(wish, passes=passes), out))
    elif changed:
        done = _paint(
            console,
            studio.create(studio.order_like(read_recipe(again, pixels=True), wish, passes, given), out),
        )
    else:
        done = _paint(console, studio.create_again(again, out, base=settings.base, agreed=yes))
    facts = done.facts()
    if save_blend is not None:
        facts["blend"] = str(studio.blends.save(save_blend, done.pictures[0].recipe.blend))
    lines = [*facts["pictures"], *(facts[key] for key in ("sheet", "blend") if key in facts)]
    console.answer(facts, "\n".join(lines))


def _paint(console: Console, events: Iterable[Any]) -> Painted:
    """Drain a render, saying each step."""
    done = Painted()
    try:
        for event in events:
            done.take(event)
            if isinstance(event, Painting):
                console.step(f"{event.share:4.0%}  step {event.step} of {event.steps}")
            elif isinstance(event, Notice):
                console.say(event.text)
            elif isinstance(event, PictureSaved):
                console.step_end()
    except TooLarge as error:
        raise BadInput(
            error.message, "{advice} Add --yes to paint it all the same.", advice=error.hint
        ) from error
    except KeyboardInterrupt:
        for picture in done.pictures:
            console.say(say("{path} is finished, and stays.", path=picture.path))
        raise
    return done
