"""The artworks of the draft as HTML: the door for them, and a card for each. Names and captions are escaped here."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

from app.i18n import say, say_count, translated
from app.train.draft import Added, DraftArtwork
from training.artworks.captions import CAPTION_ENDINGS
from training.artworks.folders import PICTURE_ENDINGS
from training.artworks.picture_checks import Remark

FEW = 5  # artworks; below that a word about it is due
SHOWN_REFUSALS = 5
UNCROPPED = 0.004  # share lost that nobody would see


def artworks_door() -> str:
    """Where artworks are dropped, pasted or chosen."""
    accepted = escape(",".join(["image/*", ".json", ".toml", *CAPTION_ENDINGS, *sorted(PICTURE_ENDINGS)]))
    said = {
        "sending": say("Bringing in {} of {}…"),
        "nothing": say("There are no pictures among these files."),
        "lost": say("Some files could not be read from where they lie."),
        "settings": ".json .toml",
        "endings": " ".join([*CAPTION_ENDINGS, *sorted(PICTURE_ENDINGS)]),
    }
    data = " ".join(f'data-{name}="{escape(words)}"' for name, words in said.items())
    return (
        f'<div class="zone door" {data}><p><strong>{escape(say("Drop your artworks here"))}</strong> '
        f"{escape(say('Files or whole folders. Pasting works, too.'))}</p>"
        f'<div class="zone-ask"><button type="button" data-for="files">{escape(say("Choose pictures"))}</button>'
        f'<button type="button" data-for="folder">{escape(say("Choose a whole folder"))}</button></div>'
        '<p class="zone-said" role="status"></p>'
        f'<input type="file" data-name="files" accept="{accepted}" multiple hidden '
        f'aria-label="{escape(say("Choose pictures"))}">'
        f'<input type="file" data-name="folder" webkitdirectory hidden aria-label="{escape(say("Choose a whole folder"))}">'
        "</div>"
    )


def artworks_said(artworks: Sequence[DraftArtwork]) -> str:
    """How many there are, in a sentence or two."""
    if not artworks:
        return say(
            "5 to 30 pictures in one style are usual. A .txt or .caption file beside a picture is its caption."
        )
    words = count_said(len(artworks), sum(bool(artwork.caption) for artwork in artworks))
    if len(artworks) == 1:
        words += " " + say("One picture is enough to try; a style wants 5 to 30.")
    elif len(artworks) < FEW:
        words += " " + say("A few more would help: 5 to 30 are usual.")
    return words


def count_said(artworks: int, captions: int) -> str:
    """How many artworks there are, and how many of them have a caption."""
    words = say_count(artworks, "1 artwork", "{count} artworks") + ", "
    return (
        words
        + (say_count(captions, "1 caption", "{count} captions") if captions else say("no caption"))
        + "."
    )


def added_said(added: Added) -> str:
    """What became of the files just dropped, where there is anything to say."""
    parts = []
    if added.known:
        parts.append(
            say_count(added.known, "1 picture was here already.", "{count} pictures were here already.")
        )
    for refusal in added.refused[:SHOWN_REFUSALS]:
        parts.append(say("Left out: {reason}", reason=translated(refusal)))
    if len(added.refused) > SHOWN_REFUSALS:
        parts.append(say("{count} more were left out.", count=len(added.refused) - SHOWN_REFUSALS))
    parts += [translated(note) for note in dict.fromkeys(added.notes)]
    return "".join(f"<p>{escape(part)}</p>" for part in parts)


def artwork_cards(artworks: Sequence[DraftArtwork], trigger: str, version: int) -> str:
    """A card for each artwork: the crop, the caption to write in, and what may be wrong.

    `version` makes the page draw anew after a change that looks like the state before it.
    """
    if not artworks:
        return f'<ul class="artworks" data-version="{version}"></ul>'
    names = [artwork.name for artwork in artworks]
    cards = "".join(_card(artwork, names, trigger) for artwork in artworks)
    return f'<ul class="artworks" data-version="{version}" aria-label="{escape(say("Your artworks"))}">{cards}</ul>'


def _card(artwork: DraftArtwork, names: Sequence[str], trigger: str) -> str:
    name, (width, height) = escape(artwork.name), artwork.look.size_px
    said = "".join(f'<p class="remark">{escape(remark_words(one, names))}</p>' for one in artwork.remarks)
    data = base64.b64encode(artwork.thumb).decode("ascii")
    left, top, right, bottom = (f"{share * 100:.2f}%" for share in artwork.framing.box)
    crop = ""
    if artwork.framing.lost > UNCROPPED:
        inset = f"--left: {left}; --top: {top}; --right: {right}; --bottom: {bottom}"
        crop = f'<span class="crop" style="{inset}"></span>'
    mask = ""
    if artwork.mask:
        mask = (
            f'<img class="mask" alt="{escape(say("Mask: white is learnt"))}" '
            f'src="data:image/png;base64,{base64.b64encode(artwork.mask).decode("ascii")}">'
        )
        said += f'<p class="remark">{escape(say("With a mask: what is dark in it hardly counts."))}</p>'
    if artwork.repeats > 1:
        times = say("Shown {count} times as often as others.", count=artwork.repeats)
        said += f'<p class="remark">{escape(times)}</p>'
    caption = escape(artwork.caption)
    hint = say("what it shows; else “{trigger}”", trigger=trigger) if trigger else say("what it shows")
    return (
        f'<li class="artwork" data-name="{name}"><div class="frame"><div class="whole">'
        f'<img alt="" src="data:image/jpeg;base64,{data}">{crop}{mask}</div></div>'
        f'<div class="about"><div class="top"><span class="name" title="{name}">{name}</span>'
        f'<span class="size">{width} × {height}</span>'
        f'<button type="button" class="leave" title="{escape(say("Take out"))}" '
        f'aria-label="{escape(say("Take out {name}", name=artwork.name))}">×</button></div>'
        f'<textarea rows="2" maxlength="1000" placeholder="{escape(hint)}" value="{caption}" '
        f'aria-label="{escape(say("Caption of {name}", name=artwork.name))}">{caption}</textarea>{said}</div></li>'
    )


def remark_words(remark: Remark, names: Sequence[str]) -> str:
    """A remark as one would say it, without alarm; `names` are those of all artworks."""
    match remark.flaw:
        case "blank":
            return say(
                "Nearly empty: all of it is one colour. What is transparent is seen on white, and of an animation "
                "only the first picture is seen."
            )
        case "dark":
            return say(
                "Very dark: its lightest parts are {share} % of white. Where it has 12 bits in 16, save it with 8.",
                share=round(remark.amount * 100),
            )
        case "small":
            return say(
                "Small: it is enlarged {times} times, so fine detail gets soft.", times=f"{remark.amount:.1f}"
            )
        case "soft":
            return say("Soft or out of focus. Fine, if it is meant so.")
        case "cut" if remark.sides:
            return say("{share} % of it is cut off, at the sides.", share=round(remark.amount * 100))
        case "cut":
            return say("{share} % of it is cut off, at top and bottom.", share=round(remark.amount * 100))
        case _:
            return say("Nearly the same as {name}. One of the two is enough.", name=names[remark.other])
