"""The base models in the Settings room: which are here, which one is in use, and how to get another."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import gradio as gr

from app.drawing import as_markdown
from app.i18n import say, say_error, translated
from app.studio import Studio
from app.window.scripts import mount
from app.window.server.answers import QUIET, answering, in_turn
from app.window.server.named_paths import asks_here, base_to_add, not_listed, not_to_change, vae_named
from app.window.server.stops import Stops
from app.window.settings.base_cards import PREDICTS, PREDICTS_FIELD, VAE_EXAMPLE, VAE_FIELD, base_list
from app.window.settings.four_bits import install_nf4, kept_words, nf4_to_install, sizes_gb
from app.window.settings.merging import merge, merge_order, offered_styles
from styles.bases.base_settings import UNSET, BaseSettings
from styles.bases.recommended import RECOMMENDED
from styles.errors import BadInput, Cancelled


def bases_section(studio: Studio, tab: gr.Tab) -> gr.State:
    """Lay out the shelf and the ways to add to it; returns a number that is another after each of its changes."""
    answered = answering(studio, "adding a base")
    # Of all pages: two answers at once must not give a page the same number.
    numbers = count(1)
    version = gr.State(0)
    gr.Markdown(
        say(
            "What styles are trained on and pictures painted with. A style fits the kind of base it was trained on."
        ),
        elem_classes="quiet",
    )
    said = gr.Markdown("", elem_classes="said bases-said")
    stop = gr.Button(say("Stop"), visible=False, elem_classes="fit")
    stops = Stops()
    # One component with fixed listeners: where gradio draws a component for each base anew, a click on a button of the
    # drawing before is lost.
    shelf = gr.HTML(
        js_on_load=mount("settings/bases", "fetch", "use", "remove", "settle", "keep", "install", "merge"),
        elem_classes="bare",
    )
    with gr.Row(equal_height=False), gr.Column(elem_classes="card"):
        gr.Markdown("### " + say("Add another"))
        source = gr.Textbox(
            label=say("A file, a folder, or a Hub id"), max_lines=1, placeholder="/models/my-model.safetensors",
            info=say("A .safetensors checkpoint or a folder in diffusers layout is used where it lies; a model named "
                     "as owner/name is fetched from the Hugging Face Hub. By fetching one you accept its licence."),
        )  # fmt: skip
        with gr.Accordion(say("For those who know"), open=False):
            predicts = gr.Dropdown(
                [(say(words), value) for value, (words, _) in PREDICTS.items()],
                value="", label=say(PREDICTS_FIELD[0]), info=say(PREDICTS_FIELD[1]), interactive=True,
            )  # fmt: skip
            vae = gr.Textbox(
                "", label=say(VAE_FIELD[0]), max_lines=1, placeholder=VAE_EXAMPLE, info=say(VAE_FIELD[1]),
                interactive=True,
            )  # fmt: skip
        add = gr.Button(say("Add"), elem_classes="fit")

    @answered
    def draw() -> str:
        entries = studio.shelf.list()
        own = [entry for entry in entries if entry.installed and entry.name != "starter" and asks_here()]
        settled = {entry.name: studio.shelf.settings_of(Path(entry.source)) for entry in own}
        return base_list(
            entries,
            settled,
            sizes_gb(studio, entries),
            nf4_to_install(asks_here()),
            offered_styles(studio, entries),
        )

    def get(wanted: str, settings: BaseSettings, progress: gr.Progress) -> list[Any]:
        entry = studio.shelf.add(
            base_to_add(wanted),
            progress=lambda text, share: progress(share, desc=translated(text)),
            settings=settings,
        )
        added = [say("{name} is added.", name=entry.name), *map(translated, entry.notes)]
        return [as_markdown(" ".join(added)), next(numbers)]

    @answered
    def fetch(event: gr.EventData, progress: gr.Progress = gr.Progress()) -> list[Any]:  # noqa: B008
        if event.base not in {base.hub_id for base in RECOMMENDED}:
            raise not_listed(str(event.base))
        return get(event.base, UNSET, progress)

    @answered
    def use(event: gr.EventData) -> list[Any]:
        name = studio.shelf.use(str(event.base)).name
        return [as_markdown(say("{name} is in use now.", name=name)), next(numbers)]

    @answered
    def remove(event: gr.EventData) -> list[Any]:
        name = str(event.base)
        studio.shelf.remove(name)
        words = say("{name} is off the list. What had been fetched is in the trash; your own files stay where they "
                    "are.", name=name)  # fmt: skip
        return [as_markdown(words), next(numbers)]

    @answered
    def settle(event: gr.EventData) -> list[Any]:
        if not asks_here():
            raise not_to_change()
        entry = studio.shelf.change(str(event.base), settings_of(str(event.predicts), str(event.vae)))
        words = [say("{name} is changed.", name=entry.name), *map(translated, entry.notes)]
        return [as_markdown(" ".join(words)), next(numbers)]

    @answered
    def keep(event: gr.EventData) -> list[Any]:
        entry = studio.shelf.keep_as(str(event.base), str(event.quantize))
        return [as_markdown(kept_words(entry)), next(numbers)]

    @answered
    def install(progress: gr.Progress = gr.Progress()) -> list[Any]:  # noqa: B008
        if not asks_here():
            raise BadInput(
                "Another device can't install anything on this computer.", "Do it on the computer itself."
            )
        return [as_markdown(install_nf4(progress)), next(numbers)]

    @answered
    def merge_styles(
        event: gr.EventData,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> Iterator[list[Any]]:
        order, base, name = merge_order(event.styles), str(event.base), str(event.name)
        with stops.begun(str(request.session_hash)) as cancelled:
            yield ["", gr.skip(), gr.update(visible=True)]
            try:
                words = merge(studio, order, base, name, agreed=event.agreed is True, progress=progress,
                              cancelled=cancelled)  # fmt: skip
            except Cancelled as error:
                yield [as_markdown(say_error(error)), gr.skip(), gr.skip()]
                return
        yield [words, next(numbers), gr.skip()]

    def halt(request: gr.Request) -> None:
        stops.stop(str(request.session_hash))

    @answered
    def add_one(
        wanted: str,
        predicts: str,
        path: str,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> list[Any]:
        return [*get(wanted or "", settings_of(predicts, path), progress), "", ""]

    # Not one at a time, or a click would be lost while another one is answered.
    asked: dict[str, Any] = {"trigger_mode": "multiple", "api_visibility": "private"}
    shelf.fetch(fetch, None, [said, version], **asked)
    shelf.install(install, None, [said, version], **asked)
    shelf.merge(merge_styles, None, [said, version, stop], **asked, show_progress_on=said).then(
        lambda: gr.update(visible=False), None, stop, **QUIET
    )
    stop.click(halt, None, None, queue=False, **QUIET)
    doing = ((shelf.use, use), (shelf.remove, remove), (shelf.settle, settle), (shelf.keep, keep))
    for listen, handler in doing:
        listen(handler, None, [said, version], **in_turn("bases", "multiple"))
    gr.on([tab.select, version.change], draw, None, shelf, **in_turn("bases", "always_last"))
    gr.on([add.click, source.submit], add_one, [source, predicts, vae], [said, version, source, vae],
          api_visibility="private")  # fmt: skip
    return version


def settings_of(predicts: str, vae: str) -> BaseSettings:
    """What the fields say; raises BadInput for a VAE that can't be named so."""
    _, (prediction_type, zero_terminal_snr) = PREDICTS.get(predicts or "", PREDICTS[""])
    return BaseSettings(prediction_type, zero_terminal_snr, vae_named(vae or ""))
