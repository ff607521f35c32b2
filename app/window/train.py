"""The Train room: artworks in, a style out, and every training that there has been."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gradio as gr

from app.drawing import progress_card
from app.orders import TrainingOrder
from app.progress import Progress
from app.studio import Studio
from app.trainings import can_resume, suggested_trigger
from app.uploads import beside_each_other, look_at_artworks
from app.window.answers import answering
from app.window.mix import choices_of
from app.window.numbers import number_field, real, whole
from styles.errors import BadInput
from training.plan import FAMILIES

PRESETS = [
    ("Quick — a first look", "quick"),
    ("Balanced — what you usually want", "balanced"),
    ("Thorough — slow, for artworks full of detail", "thorough"),
]
LOOK_SECONDS = 1.0
SHOWN_PREVIEWS = 24


@dataclass(frozen=True)
class Watch:
    """Which training a page shows, and what it has read of its journal."""

    job_id: str = ""
    offset: int = 0
    progress: Progress = field(default_factory=Progress)
    state: str = ""


def train_room(studio: Studio, page: gr.Blocks, tab: gr.Tab) -> None:
    """Lay out the room and connect it."""
    told = answering(studio, "training")
    watch = gr.State(Watch())
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=340):
            files = gr.File(
                label="Artworks", file_count="multiple", height=150,
                file_types=["image", ".heic", ".heif", ".psd", ".tif", ".tiff", ".avif", ".txt"],
            )  # fmt: skip
            notes = gr.Markdown(
                "Drop 5 to 30 pictures in one style. A `.txt` beside a picture is its caption.",
                elem_classes="quiet",
            )
            thumbs = gr.Gallery(
                label="Artworks as they will be seen", show_label=False, columns=6, height=140, visible=False,
                format="png", object_fit="contain", buttons=[], allow_preview=False,
            )  # fmt: skip
            name = gr.Textbox(
                label="Name of the style", value="", placeholder="for example: Ink wash", max_lines=1
            )
            trigger = gr.Textbox(
                label="Trigger word", value="", placeholder="made from the name", max_lines=1,
                info="The word that calls the style in a prompt.",
            )  # fmt: skip
            preset = gr.Radio(PRESETS, value="balanced", label="How thoroughly")
            with gr.Accordion("Advanced", open=False):
                with gr.Row():
                    steps = number_field("Steps", "the preset's")
                    rank = number_field("Rank", "the preset's")
                with gr.Row():
                    seed = number_field("Training seed", "0")
                    resolution = number_field("Resolution in pixels", "the base's")
                layers = gr.Radio(
                    [("Cross-attention", "cross"), ("Cross- and self-attention", "cross+self")],
                    value="cross", label="Layers to train",
                )  # fmt: skip
                with gr.Row():
                    learning_rate = number_field("Learning rate", "the preset's")
                    batch = number_field("Batch", "the preset's")
                    accumulate = number_field("Gradient accumulation", "1")
                checkpointing = gr.Checkbox(
                    False, label="Gradient checkpointing", info="Takes less memory, and is slower."
                )
                flip = gr.Checkbox(
                    False, label="Show the artworks mirrored, too", info="Not with lettering or signatures."
                )
                begun = gr.Dropdown(
                    [("nothing: a new style", "")], value="", label="Go on from",
                    info="A finished style that learns more, in its own layers and on the base that it is for.",
                )  # fmt: skip
                base = gr.Textbox(
                    label="Base to train on", value="", placeholder="the one in use", max_lines=1
                )
                author = gr.Textbox(label="Author", value="", max_lines=1)
                licence = gr.Textbox(
                    label="Licence", value="", max_lines=1, placeholder="for example: CC-BY-4.0"
                )
            start = gr.Button("Start training", variant="primary", size="lg")
        with gr.Column(scale=6, min_width=380):
            card = gr.HTML(progress_card(Progress(phase="No training yet")), label="Progress")
            with gr.Row():
                pause = gr.Button("Pause", interactive=False)
                stop = gr.Button("Stop and keep", interactive=False)
                resume = gr.Button("Resume", interactive=False)
            previews = gr.Gallery(
                label="Previews",
                columns=4,
                height=420,
                format="png",
                object_fit="contain",
                buttons=["fullscreen"],
            )
            jobs = gr.Radio([], label="Trainings", info="Choose one to see how it went.", visible=False)
    timer = gr.Timer(LOOK_SECONDS, active=False)
    shown = [watch, card, previews, pause, stop, resume, jobs, timer]
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}

    @told
    def look(seen: Watch) -> list[Any]:
        return _look(studio, seen)

    @told
    def look_at_files(paths: list[str] | None) -> Any:
        pictures, words = look_at_artworks([Path(path) for path in paths or []])
        return words, gr.update(value=pictures, visible=bool(pictures))

    @told
    def begin(values: dict[Any, Any]) -> Watch:
        with beside_each_other([Path(path) for path in values[files] or []]) as pictures:
            order = TrainingOrder(
                name=values[name], pictures=tuple(pictures), base=values[base].strip(), preset=values[preset],
                trigger=values[trigger], steps=whole(steps, values[steps]), rank=whole(rank, values[rank]),
                seed=whole(seed, values[seed]), resolution_px=whole(resolution, values[resolution]),
                layers=None if values[begun] else values[layers], author=values[author], licence=values[licence],
                learning_rate=real(learning_rate, values[learning_rate]), batch=whole(batch, values[batch]),
                gradient_accumulation=whole(accumulate, values[accumulate]),
                gradient_checkpointing=values[checkpointing] or None, flip=values[flip] or None,
                continue_from=values[begun] or "",
            )  # fmt: skip
            return Watch(studio.start_training(order).folder.name)

    @told
    def request_pause(seen: Watch) -> None:
        studio.pause_training(seen.job_id)

    @told
    def request_stop(seen: Watch) -> None:
        studio.stop_training(seen.job_id)

    @told
    def go_on(seen: Watch) -> Watch:
        studio.resume_training(seen.job_id)
        return Watch(seen.job_id)

    def styles_to_go_on_from(chosen: str | None) -> Any:
        cards = [card for card in studio.library.cards() if card.family in FAMILIES]
        choices = [("nothing: a new style", ""), *choices_of(studio, cards)]
        kept = chosen if chosen in {handle for _, handle in choices} else ""
        return gr.update(choices=choices, value=kept)

    form = {
        files, name, trigger, preset, steps, rank, seed, resolution, layers, base, author, licence, learning_rate,
        batch, accumulate, checkpointing, flip, begun,
    }  # fmt: skip
    # A clock rather than a stream: it survives a lost connection and a sleeping computer, and one listener serves all.
    timer.tick(look, watch, shown, **quiet)
    page.load(told(lambda: _look(studio, _latest(studio))), None, shown, **quiet)
    gr.on([page.load, tab.select], told(styles_to_go_on_from), begun, begun, **quiet)
    jobs.input(told(lambda job_id: _look(studio, Watch(job_id))), jobs, shown, **quiet)
    files.change(look_at_files, files, [notes, thumbs], api_visibility="private")
    suggest = told(lambda text: gr.update(placeholder=suggested_trigger(text)))
    name.change(suggest, name, trigger, **quiet)
    gr.on(start.click, begin, form, watch, api_visibility="private").success(look, watch, shown, **quiet)
    pause.click(request_pause, watch, None, concurrency_limit=None, **quiet).success(
        look, watch, shown, **quiet
    )
    stop.click(request_stop, watch, None, concurrency_limit=None, **quiet).success(
        look, watch, shown, **quiet
    )
    resume.click(go_on, watch, watch, **quiet).success(look, watch, shown, **quiet)


def _latest(studio: Studio) -> Watch:
    """The training that a fresh page shows: the running one, else the newest."""
    cards = studio.jobs()
    running = [card for card in cards if card.state == "running"]
    return Watch((running or cards)[0].id) if cards else Watch()


def _choices(studio: Studio, chosen: str | None) -> Any:
    cards = studio.jobs()
    return gr.update(choices=[(card.words, card.id) for card in cards], value=chosen, visible=bool(cards))


def _look(studio: Studio, seen: Watch) -> list[Any]:
    """What changed on the page since `seen`; the rest is skipped."""
    if not seen.job_id:
        return [gr.skip()] * 7 + [gr.update(active=False)]
    try:
        job = studio.trainings.job(seen.job_id)
    except BadInput:  # its folder is gone
        gone = progress_card(Progress(phase="This training is gone"))
        buttons = [gr.update(interactive=False)] * 3
        return [Watch(), gone, [], *buttons, _choices(studio, None), gr.update(active=False)]
    progress, offset, state = studio.trainings.look(job, seen.progress, seen.offset)
    now = Watch(seen.job_id, offset, progress, state)
    if now == seen:
        return [gr.skip()] * 8
    new_previews = progress.previews != seen.progress.previews or not seen.offset
    jobs: Any = gr.skip()
    if state != seen.state:
        jobs = _choices(studio, seen.job_id)
    running = state == "running"
    return [
        now,
        progress_card(progress, job.name),
        studio.preview_pictures(job, progress, SHOWN_PREVIEWS) if new_previews else gr.skip(),
        gr.update(interactive=running),
        gr.update(interactive=running),
        gr.update(interactive=can_resume(state, progress)),
        jobs,
        gr.update(active=running),
    ]
