"""Styles as pieces of HTML for the page. Every text that came from a person or a file is escaped here."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Sequence
from html import escape

from app.drawing import facts_table
from app.i18n import say, say_count, translated, unsaid
from app.train.progress import words_for_seconds
from styles.families import family_of
from styles.formats.provenance import provenance
from styles.formats.style import StyleCard
from styles.library.import_card import ImportCard
from styles.library.library import Vanished
from styles.library.privacy_report import KINDS, PRIVATE, PrivacyEntry
from styles.quantization.quantization import QUANTIZATIONS, quantization_words

SHOWN_TAGS = 4  # on a tile
LAYER_WORDS: dict[str, Callable[[int], str]] = {
    "cross-attention": lambda count: say_count(
        count, "1 layer of cross-attention", "{count} layers of cross-attention"
    ),
    "self-attention": lambda count: say_count(
        count, "1 layer of self-attention", "{count} layers of self-attention"
    ),
    "the text encoder": lambda count: say_count(
        count, "1 layer of the text encoder", "{count} layers of the text encoder"
    ),
    "other parts": lambda count: say_count(count, "1 layer of other parts", "{count} layers of other parts"),
}
NETWORK_WORDS = {
    "unet": "UNet", "te": unsaid("text encoder"), "te1": unsaid("first text encoder"), "te2": unsaid("second text encoder"),
}  # fmt: skip
TRAINING_WORDS = {
    "artworks": unsaid("Artworks"),
    "masked": unsaid("Artworks with a mask"),
    "unmasked_weight": unsaid("Weight beside the masks"),
    "preset": unsaid("Preset"),
    "steps": unsaid("Training steps"),
    "batch": unsaid("Pictures per step"),
    "learning_rate": unsaid("Learning rate"),
    "layers": unsaid("Layers trained"),
    "quantize": unsaid("Trained over"),
    "opposite_every": unsaid("Steps between two opposite ones"),
    "seed": unsaid("Seed"),
    "clip_skip": unsaid("Clip skip"),
    "seconds": unsaid("Time"),
    "resolution_px": unsaid("Side of the pictures, px"),
    "prediction_type": unsaid("The base predicts"),
    "base_layers": unsaid("Cross-attention layers of its base"),
}


def style_tile(card: StyleCard, handle: str = "", favourite: bool = False, tags: Sequence[str] = ()) -> str:
    """A style as it lies in the library, to be opened, with a star to mark it; `tags` are the artist's own."""
    name = escape(card.name)
    star = escape(say("A favourite: {name}", name=card.name))
    shown = [*card.tags, *(tag for tag in tags if tag not in card.tags)][:SHOWN_TAGS]
    words = "".join(f"<span>#{escape(tag)}</span>" for tag in shown)
    problem = f'<p class="problem">{escape(translated(card.problems[0]))}</p>' if card.problems else ""
    return (
        f'<li class="tile" data-style="{escape(handle)}">{style_picture(card)}'
        f'<button type="button" class="star" data-do="star" aria-pressed="{str(favourite).lower()}" '
        f'aria-label="{star}" title="{star}">{"★" if favourite else "☆"}</button>'
        f'<h3><button type="button" class="open" data-do="open">{name}</button></h3>'
        f'<p class="badges">{badges(card)}</p><p class="tags">{words}</p>{problem}</li>'
    )


def style_picture(card: StyleCard) -> str:
    """A card's picture, or a place for one."""
    if not card.thumbnail:
        return f'<div class="picture none">{escape(say("no picture yet"))}</div>'
    data = base64.b64encode(card.thumbnail).decode("ascii")
    return f'<div class="picture"><img alt="" loading="lazy" src="data:image/jpeg;base64,{data}"></div>'


def badges(card: StyleCard) -> str:
    """Which base it is for, and the word that calls it."""
    trigger = f"<code>{escape(card.trigger)}</code>" if card.trigger else ""
    return f'<span class="base">{escape(translated(family_of(card.family).badge))}</span>{trigger}'


def style_head(card: StyleCard) -> str:
    """The top of a style's own page."""
    problems = "".join(f'<p class="problem">{escape(translated(one))}</p>' for one in card.problems)
    return (
        f'<div class="style-head">{style_picture(card)}<h2>{escape(card.name)}</h2>'
        f'<p class="badges">{badges(card)}</p>{problems}</div>'
    )


def style_facts(card: StyleCard) -> str:
    """How a style was made and where it comes from."""
    rows = [(say("Made for"), translated(family_of(card.family).name))]
    rows += [(say("Kind"), say("{kind}, rank {rank}, strength {strength}", kind=card.kind, rank=card.rank,
                               strength=f"{card.strength:g}"))]  # fmt: skip
    rows += [
        (
            say("Layers"),
            ", ".join(
                f"{say(NETWORK_WORDS.get(network, network))}: {count}"
                for network, count in card.layers.items()
            ),
        )
    ]
    rows += [(say("Words that it brings"), ", ".join(card.tokens))]
    rows += [(say(words), _training_fact(card, key)) for key, words in TRAINING_WORDS.items()]
    rows += [
        (say("Made on"), card.created[:10]),
        (say("Where it comes from"), " ".join(map(translated, provenance(card)))),
    ]
    rows += [(say("File"), str(card.path or "")), (say("Hash of its tensors"), card.id)]
    return facts_table((name, value) for name, value in rows if value)


def _training_fact(card: StyleCard, key: str) -> str:
    value = card.training.get(key, "")
    if key == "seconds" and isinstance(value, int | float):
        return str(words_for_seconds(value))
    if key == "quantize" and value in QUANTIZATIONS:
        base = card.base_name or translated(family_of(card.family).name)
        return say("{base} {way}", base=base, way=translated(quantization_words(str(value))))
    return str(value)


def seen_list(seen: Sequence[PrivacyEntry]) -> str:
    """What others will see of an export, entry by entry, what is private first."""
    several = len({one.where.split("/")[0] for one in seen}) > 1
    parts = []
    for kind in sorted(KINDS, key=lambda kind: kind not in PRIVATE):
        here = [one for one in seen if one.kind == kind]
        if not here:
            continue
        names = (f"{one.where}: {one.key}" if several else one.key for one in here)
        table = facts_table(zip(names, (one.value for one in here), strict=True))
        title = translated(KINDS[kind])
        is_open = "" if kind == "file" else " open"
        private = " private" if kind in PRIVATE else ""
        parts.append(
            f'<details class="seen{private}"{is_open}><summary>{escape(title[:1].upper() + title[1:])} ({len(here)})'
            f"</summary>{table}</details>"
        )
    return "".join(parts)


def import_card(number: int, one: ImportCard, reason: str) -> str:
    """A style that could be imported, with a button for each answer; or why it is refused."""
    if one.card is None:
        body = f'<h3>{escape(one.file.name)}</h3><p class="problem">{escape(reason)}</p>'
        return _offered(number, "", body, _button("leave", say("Put away"), one.file.name))
    card = one.card
    proof = say("its layers show it") if one.proven else say("it says so, its layers don't show it")
    rows = {
        say("Made for"): f"{translated(family_of(card.family).name)} ({proof})",
        say("Changes"): ", ".join(LAYER_WORDS[part](count) for part, count in one.changes),
        say("Kind"): say("{kind}, rank {rank}, strength {strength}", kind=card.kind, rank=card.rank,
                         strength=f"{card.strength:g}"),
        say("Trigger word"): card.trigger or say("none is known"),
        say("Words that it brings"): ", ".join(card.tokens),
        say("Licence"): card.licence or say("none is named"),
        say("By"): card.author,
        say("Take note"): " ".join(map(translated, card.problems)),
    }  # fmt: skip
    table = facts_table((name, value) for name, value in rows.items() if value)
    if reason:
        body = f'<h3>{escape(card.name)}</h3><p class="problem">{escape(reason)}</p>{table}'
        return _offered(number, style_picture(card), body, _button("leave", say("Put away"), card.name))
    buttons = _button("bring", say("Import"), card.name) + _button("leave", say("Leave it"), card.name)
    return _offered(number, style_picture(card), f"<h3>{escape(card.name)}</h3>{table}", buttons)


def _offered(number: int, picture: str, body: str, buttons: str) -> str:
    return (
        f'<li class="offered" data-number="{number}">{picture}<div class="told">{body}'
        f'<div class="asked">{buttons}</div></div></li>'
    )


def _button(does: str, words: str, name: str) -> str:
    label = escape(f"{words}: {name}")
    main = " main" if does == "bring" else ""
    return f'<button type="button" class="asking{main}" data-do="{does}" aria-label="{label}">{escape(words)}</button>'


def vanished_list(vanished: Iterable[Vanished]) -> str:
    """The styles whose files are not there any more, and how to have them back."""
    lines = "".join(
        "<li>" + escape(say("{name}: {file} was missed on {date}", name=one.name, file=one.file, date=one.missed[:10]))
        + "</li>"
        for one in vanished
    )  # fmt: skip
    words = escape(
        say(
            "These styles have vanished from the folder. Copy a file to its place again, and it is back with its notes."
        )
    )
    button = f'<button type="button" class="asking">{escape(say("Say no more of them"))}</button>'
    return f'<div class="notice ask"><div><p>{words}</p><ul>{lines}</ul></div>{button}</div>'
