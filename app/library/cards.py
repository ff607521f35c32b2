"""Styles and bases as facts for `--json` and as words for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from styles.bases.recommended import RECOMMENDED
from styles.bases.shelf import BaseEntry
from styles.formats.provenance import provenance
from styles.formats.style import StyleCard
from styles.library.compatibility.opening import sources_words
from styles.library.export import Exported
from styles.library.import_card import ImportCard
from styles.library.notes import Note
from styles.library.privacy_report import PrivacyEntry
from styles.library.verify import Verified
from styles.quantization.quantization import PLAIN, quantization_words
from styles.text import Text


def card_facts(card: StyleCard) -> dict[str, Any]:
    """All that a card says, as plain JSON values; its file is "file", since gradio would fetch what is called "path"."""
    facts = card.to_json()
    facts["file"] = facts.pop("path")
    return facts


def card_line(card: StyleCard) -> Text:
    """A card on one line."""
    facts = [card.made_for, Text("rank {rank}", rank=card.rank)]
    if card.trigger:
        facts.append(Text("trigger “{trigger}”", trigger=card.trigger))
    line = Text("{style}  ({facts})", style=card.name, facts=Text.joined(", ", facts))
    return Text.joined("  ! ", [line, Text.joined("; ", card.problems)]) if card.problems else line


def import_facts(one: ImportCard) -> dict[str, Any]:
    """A card shown before an import, as plain JSON values."""
    if one.card is None or one.reason:
        return {"file": str(one.file), "reason": one.reason}
    return card_facts(one.card) | {"proven": one.proven, "changes": dict(one.changes)}


def import_words(one: ImportCard) -> Text:
    """The same on a screen."""
    if one.card is None or one.reason:
        return Text("Refused {file}: {reason}", file=one.file, reason=one.reason)
    return _words(import_rows(one))


def import_rows(one: ImportCard) -> dict[str, str]:
    """What such a card says, line by line; what it does not say is empty."""
    assert one.card is not None
    rows = card_rows(one.card)
    proof = (
        Text("as its layers show")
        if one.proven
        else Text("as far as it says itself: its layers don't show it")
    )
    changes = [
        Text("{count} layer of {part}", "{count} layers of {part}", count=count, part=part)
        for part, count in one.changes
    ]
    return rows | {
        "For": Text.joined(", ", [rows["For"], proof]),
        "Layers": Text.joined(", ", changes),
        "File": str(one.file),
    }


def card_words(card: StyleCard, mark: Note | None = None) -> Text:
    """A card on a screen, without what it does not say."""
    return _words(card_rows(card) | {"Noted": mark_words(mark)})


def card_rows(card: StyleCard) -> dict[str, str]:
    """What a card says, line by line; what it does not say is empty."""
    return {
        "Name": card.name,
        "For": card.made_for,
        "Trigger": card.trigger,
        "Words": ", ".join(card.tokens),
        "Author": card.author,
        "Licence": card.licence,
        "About": card.description,
        "Tags": ", ".join(card.tags),
        "Weight": f"{card.suggested_weight:g}",
        "Kind": Text(
            "{kind}, rank {rank}, strength {strength:g}",
            kind=card.kind,
            rank=card.rank,
            strength=card.strength,
        ),
        "Layers": ", ".join(f"{network} {count}" for network, count in card.layers.items()),
        "Trained": ", ".join(f"{key} {value}" for key, value in card.training.items()),
        "Made": card.created,
        "Origin": Text.joined(" ", provenance(card)),
        "Id": card.id,
        "File": str(card.path or ""),
        "Problems": Text.joined("; ", card.problems),
    }


def _words(rows: Mapping[str, str]) -> Text:
    lines = (Text("{name:<10}{value}", name=f"{name}:", value=value) for name, value in rows.items() if value)
    return Text.joined("\n", lines)


def mark_facts(mark: Note | None) -> dict[str, Any]:
    """What the artist noted about a style for themselves, as plain JSON values."""
    mark = mark or Note()
    return {"favourite": mark.favourite, "own_tags": list(mark.tags), "note": mark.note}


def mark_words(mark: Note | None) -> str:
    """The same on one line; empty where nothing is noted."""
    mark = mark or Note()
    parts = ["a favourite" if mark.favourite else "", ", ".join(mark.tags), mark.note]
    return "; ".join(part for part in parts if part)


def seen_facts(seen: Iterable[PrivacyEntry]) -> list[dict[str, Any]]:
    """What others will see of an export, as plain JSON values."""
    return [asdict(one) | {"private": one.private} for one in seen]


def seen_words(seen: Iterable[PrivacyEntry]) -> str:
    """The same as a list, one entry a line."""
    return "\n".join(f"{'! ' if one.private else '  '}{one.where}  {one.key}: {one.value}" for one in seen)


def export_facts(done: Exported) -> dict[str, Any]:
    """What an export wrote, as plain JSON values."""
    return {
        "style": str(done.paths[0]),
        "files": [str(path) for path in done.paths],
        "id": done.id,
        "tag": done.tag,
        "difference": done.difference,
        "opens_in": {one.tool: [one.opens, *one.reasons] for one in done.opens},
        "seen": seen_facts(done.shown),
        "notes": list(done.notes),
    }


def export_words(done: Exported) -> Text:
    """The same on a screen."""
    private = sum(one.private for one in done.shown)
    lines = [
        *(one.words for one in done.opens),
        sources_words(),
        Text("In a prompt of other programs: {tag}", tag=done.tag),
        *done.notes,
        Text(
            "Others will see {count} entries, {private} of them private: --only-show lists them.",
            count=len(done.shown),
            private=private,
        ),
    ]
    paths = (Text("Exported to {path}", path=path) for path in done.paths)
    return Text.joined("\n", [*paths, *(Text("  {words}", words=line) for line in lines)])


def verified_facts(report: Verified) -> dict[str, Any]:
    """What became of the checks of a style's file, as plain JSON values."""
    facts = report.to_json()
    facts["file"] = facts.pop("path")
    return facts | {"card": card_facts(report.card) if report.card else None}


def verified_words(report: Verified) -> Text:
    """The same on a screen."""
    marks = {"good": "ok", "note": "--", "bad": "!!"}
    state = Text("whole") if report.whole else Text("not whole")
    lines = [Text("{path}: {state}", path=report.path, state=state)]
    for one in report.checks:
        words = Text.joined(" ", filter(None, (one.words, one.hint)))
        lines.append(Text("  {mark} {name}: {words}", mark=marks[one.state], name=one.name, words=words))
    lines += [Text("  {words}", words=one.words) for one in report.openings]
    lines += [Text("  {words}", words=sources_words())] if report.openings else []
    return Text.joined("\n", lines)


def base_facts(entry: BaseEntry) -> dict[str, Any]:
    """All that the shelf says about a base, as plain JSON values."""
    return asdict(entry) | {"state": entry.state}


def base_line(entry: BaseEntry) -> Text:
    """A base on one line."""
    mark = "*" if entry.in_use else " "
    if not entry.installed and not entry.problem:
        titles = {base.hub_id: base.title for base in RECOMMENDED}
        return Text(
            "  {base}  ({title}; to fetch: {size_gb:g} GB, {family}, licence to accept: {licence})",
            base=entry.name,
            title=titles.get(entry.name, ""),
            size_gb=entry.size_gb,
            family=entry.family,
            licence=entry.licence,
        )
    kind = entry.problem or ", ".join(
        text
        for text in (
            entry.family,
            f"{entry.native_size_px} px",
            entry.prediction_type,
            entry.vae and f"VAE {entry.vae}",
            quantization_words(entry.quantize) if entry.quantize != PLAIN else "",
        )
        if text
    )
    return Text("{mark} {base}  ({facts})", mark=mark, base=entry.name, facts=kind)
