"""The Create room: a prompt, a slider for each style, pictures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from app.drawing import as_markdown
from app.orders import PictureOrder
from app.painting import Notice, Painting, PictureSaved
from app.studio import Studio
from app.window.answers import answering, warn
from app.window.mix import FIRST_STYLES, arranged, choices_of, mix_controls, paintable, present
from app.window.numbers import number_field, real, shown, whole
from styles.errors import Cancelled, OutOfMemory, RecipeError
from styles.pictures import read_recipe
from styles.recipe import SAMPLERS, Recipe

FIRST_PROMPT = "a red house in a meadow"
SHOWN_PICTURES = 24


def create_room(studio: Studio, page: gr.Blocks, tab: gr.Tab) -> None:
    """Lay out the room and connect it."""
    told = answering(studio, "painting")
    greeted = gr.State(False)  # whether the first styles have been chosen for this page
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=340):
            prompt = gr.Textbox(label="Prompt", value=FIRST_PROMPT, lines=2, max_lines=8)
            mix = mix_controls()
            with gr.Row():
                count = gr.Slider(1, 16, value=1, step=1, label="How many")
                seed = number_field("Seed", "a new one each time")
            with gr.Row():
                go = gr.Button("Create", variant="primary", size="lg", scale=3)
                stop = gr.Button("Stop", size="lg", scale=1)
            with gr.Group(visible=False) as crowded:
                crowded_words = gr.Markdown()
                pause_and_go = gr.Button("Pause the training, paint, go on")
            with gr.Accordion("More", open=False):
                negative = gr.Textbox(label="Negative prompt", value="", info="What to keep out.", lines=1)
                with gr.Row():
                    width = number_field("Width in pixels", "the base's")
                    height = number_field("Height in pixels", "the base's")
                with gr.Row():
                    steps = gr.Slider(1, 100, value=20, step=1, label="Steps")
                    guidance = number_field("Guidance", "the base's")
                sampler = gr.Dropdown(list(SAMPLERS), value=SAMPLERS[0], label="Sampler")
                triggers = gr.Checkbox(True, label="Add the styles' trigger words to the prompt")
                base = gr.Textbox(
                    label="Base to paint with", value="", placeholder="the one in use", max_lines=1
                )
                dropped = gr.File(
                    label="Drop a picture to get its recipe back", file_types=[".png"], height=140
                )
        with gr.Column(scale=6, min_width=380):
            live = gr.Image(
                label="Being painted", format="png", height=260, visible=False, interactive=False, buttons=[]
            )
            said = gr.Markdown("", elem_classes="quiet")
            gallery = gr.Gallery(
                label="Pictures", columns=3, format="png", object_fit="contain", height=660,
                buttons=["download", "fullscreen"],
            )  # fmt: skip

    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}

    @told
    def fill(
        source: str | None, again: bool, wanted: list[str] | None, ids: list[str], *values: float
    ) -> list[Any]:
        cards = paintable(studio, source or "")
        choices = choices_of(studio, cards)
        offered = [handle for _, handle in choices]
        names = [style for style in wanted or [] if style in set(offered)]
        if again and [card.id for card in present(studio, names)] == ids:
            # A slider may be moved while this answer is under way.
            return [True, gr.update(choices=choices), *[gr.skip()] * (len(mix.all) - 1)]
        if not again:
            names = names or offered[:FIRST_STYLES]
        known = dict(zip(ids, values, strict=False))
        return [bool(again or names), *arranged(studio, names, known, choices)]

    @told
    def choose(wanted: list[str] | None, ids: list[str], *values: float) -> list[Any]:
        return arranged(studio, wanted or [], dict(zip(ids, values, strict=False)))

    # A fresh page and a visit after a training both find the styles that are there now.
    visits = [page.load, tab.select, base.blur, base.submit]
    gr.on(visits, fill, [base, greeted, *mix.says], [greeted, *mix.all], **quiet)
    page.load(told(lambda: recent(studio)), None, gallery, **quiet)
    mix.chosen.input(choose, mix.says, mix.all, **quiet)

    form = {
        prompt, negative, mix.ids, *mix.sliders, count, seed, width, height, steps, guidance, sampler, triggers, base,
    }  # fmt: skip
    screen = [live, said, gallery, crowded, crowded_words]

    def order_of(values: dict[Any, Any]) -> PictureOrder:
        return PictureOrder(
            prompt=values[prompt], negative=values[negative], base=values[base],
            weights=mix.weights(values),
            seed=whole(seed, values[seed]), count=int(values[count]), steps=int(values[steps]),
            guidance=real(guidance, values[guidance]), sampler=values[sampler],
            width_px=whole(width, values[width]), height_px=whole(height, values[height]),
            add_triggers=values[triggers],
        )  # fmt: skip

    @told
    def paint(values: dict[Any, Any]) -> Iterator[list[Any]]:
        yield from _show(studio, order_of(values), pause_training=False)

    @told
    def paint_in_a_pause(values: dict[Any, Any]) -> Iterator[list[Any]]:
        yield from _show(studio, order_of(values), pause_training=True)

    one_at_a_time: dict[str, Any] = {"concurrency_id": "gpu", "concurrency_limit": 1, **quiet}
    gr.on([go.click, prompt.submit], paint, form, screen, **one_at_a_time)
    pause_and_go.click(paint_in_a_pause, form, screen, **one_at_a_time)
    stop.click(told(lambda: studio.stop_rendering()), None, None, concurrency_limit=None, **quiet)

    @told
    def take_recipe(path: str | None) -> list[Any]:
        if not path:
            return [gr.skip()] * len(restored)
        recipe = read_recipe(Path(path))
        source = studio.source_for(recipe)
        parts: dict[str, float] = {}
        heard = {part.style for part in recipe.blend.sounding}
        missing = []
        for part in recipe.blend.parts:
            match = present(studio, [part.style])
            if not match:
                missing.append(recipe.names.get(part.style, part.style[:12]))
            else:
                parts[match[0].id] = part.weight if part.style in heard else 0.0
        if missing:
            warn(f"These styles of the picture are not in the library: {', '.join(missing)}")
        for note in recipe.notes:
            warn(note)
        lacking = no_control_for(recipe)
        if lacking:
            warn(
                f"The picture was made with {', '.join(lacking)}; this page can't say that, and paints without."
            )
        usable = {card.path: card for card in [*paintable(studio, source), *present(studio, list(parts))]}
        choices = choices_of(studio, list(usable.values()))
        words = f"The picture's recipe is set, to be painted with {Path(source).name}."
        if recipe.base not in ("", source, Path(source).name):
            words += f" It was made with {recipe.base}."
        return [
            recipe.prompt, recipe.negative, shown(recipe.seed), shown(recipe.width_px), shown(recipe.height_px),
            recipe.steps, shown(recipe.guidance), recipe.sampler, source, as_markdown(words),
            *arranged(studio, list(parts), parts, choices),
        ]  # fmt: skip

    restored = [
        prompt, negative, seed, width, height, steps, guidance, sampler, base, said, *mix.all,
    ]  # fmt: skip
    dropped.upload(take_recipe, dropped, restored, api_visibility="private")


def no_control_for(recipe: Recipe) -> list[str]:
    """What a picture was made with that the page can't say."""
    parts = recipe.blend.sounding
    found = {
        f"the mode “{recipe.blend.mode}”": recipe.blend.mode != "sum" and len(parts) > 1,
        "schedules": any(part.schedule for part in parts),
        "composition and texture": any((part.composition, part.texture) != (1, 1) for part in parts),
        "a picture to start from": bool(recipe.source),
        "a second pass": recipe.second_scale > 0,
    }
    return [words for words, there in found.items() if there]


def recent(studio: Studio) -> list[tuple[str, str]]:
    """The newest pictures for the gallery, each with what it was made from."""
    shown = []
    for path in studio.recent_pictures(SHOWN_PICTURES):
        try:
            recipe = read_recipe(path)
        except RecipeError:
            if path.is_file():  # and not deleted since
                shown.append((str(path), path.stem))
            continue
        shown.append((str(path), f"seed {recipe.seed}: {recipe.prompt}"))
    return shown


def _show(studio: Studio, order: PictureOrder, *, pause_training: bool) -> Iterator[list[Any]]:
    """Paint, and yield what the screen shows after each event: live picture, words, gallery, and the crowded box."""
    words = "Opening the base and preparing."
    yield [gr.skip(), words, gr.skip(), gr.update(visible=False), ""]
    notices: list[str] = []
    try:
        for event in studio.render(order, pause_training=pause_training).events():
            match event:
                case Notice():
                    notices.append(event.text)
                case Painting():
                    previews = event.previews()
                    picture = gr.update(value=_strip(previews), visible=True)
                    yield [picture, f"Step {event.step} of {event.steps}", gr.skip(), gr.skip(), gr.skip()]
                case PictureSaved():
                    notices.append(f"Seed {event.seed}: saved as {event.path.name}")
                    yield [gr.skip(), gr.skip(), recent(studio), gr.skip(), gr.skip()]
    except Cancelled:
        notices.append("Stopped. What was finished is kept.")
    except OutOfMemory as error:
        job = studio.trainings.running()
        if job is None or pause_training:
            yield [gr.update(visible=False), "", gr.skip(), gr.skip(), gr.skip()]
            raise
        yield [gr.update(visible=False), "", gr.skip(), gr.update(visible=True), as_markdown(str(error))]
        return
    except Exception:
        yield [gr.update(visible=False), "", gr.skip(), gr.skip(), gr.skip()]
        raise
    notes = "\n\n".join(map(as_markdown, notices))
    yield [gr.update(visible=False), notes, recent(studio), gr.skip(), gr.skip()]


def _strip(previews: list[Any]) -> Any:
    """The previews of one batch side by side, enlarged: one latent is one pixel."""
    from PIL import Image

    side = max(previews[0].size)
    scale = max(1, 256 // side)
    width, height = previews[0].width * scale, previews[0].height * scale
    strip = Image.new("RGB", (width * len(previews), height))
    for place, preview in enumerate(previews):
        strip.paste(preview.resize((width, height), Image.Resampling.BICUBIC), (width * place, 0))
    return strip
