"""The blends that an artist keeps, as the Create room asks for them: shown, kept, taken up, shared, brought, put away."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.create.mix_form import MOST_ROWS, MixForm
from app.i18n import say
from app.studio import Studio
from styles.errors import BadInput
from styles.mixing.blend_file import LARGEST, SUFFIX, SavedBlend
from styles.storage.names import suggested_name

Question = Callable[[dict[str, Any]], dict[str, Any]]


def blend_questions(studio: Studio) -> list[Question]:
    """What the script create/blends.js asks; the names are its words for them. They raise our errors."""
    blends_of_home = studio.blends

    def blends(about: dict[str, Any]) -> dict[str, Any]:
        readable, refused = blends_of_home.all()
        shown = [{"name": saved.name, "words": in_words(studio, saved)} for saved in readable]
        return {"blends": shown, "refused": [one.reason for one in refused]}

    def keep_blend(about: dict[str, Any]) -> dict[str, Any]:
        mix = MixForm.from_json(about["mix"])
        names = {row.style: row.name for row in mix.rows}
        return {"name": blends_of_home.save(str(about["name"]), mix.blend, names).stem}

    def take_blend(about: dict[str, Any]) -> dict[str, Any]:
        saved = blends_of_home.find(str(about["name"]))
        blend = saved.blend
        if len(blend.parts) > MOST_ROWS:
            raise BadInput(
                "This blend has {count} styles, and there is room here for {most_rows}.",
                "Paint with it on the command line: `create --blend`.",
                count=len(blend.parts),
                most_rows=MOST_ROWS,
            )
        names = {style.id: style.name for style in saved.styles}
        return {"mix": MixForm.of_blend(blend, names).to_json()}

    def share_blend(about: dict[str, Any]) -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as folder:
            file = blends_of_home.export(str(about["name"]), Path(folder))
            return {"file": file.name, "text": file.read_text(encoding="utf-8")}

    def bring_blend(about: dict[str, Any]) -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / (suggested_name(Path(str(about["file"])).stem) + SUFFIX)
            file.write_bytes(str(about["text"]).encode("utf-8")[: LARGEST + 1])
            return {"name": blends_of_home.bring(file).name}

    def discard_blend(about: dict[str, Any]) -> dict[str, Any]:
        blends_of_home.delete(str(about["name"]))
        return {}

    return [blends, keep_blend, take_blend, share_blend, bring_blend, discard_blend]


def in_words(studio: Studio, saved: SavedBlend) -> str:
    """The styles that it sounds with and their weights, on one line; those that are not here are called so."""
    facts, heard = studio.blends.facts(saved), {part.style for part in saved.blend.sounding}
    parts = []
    for style in (style for style in facts["styles"] if style["id"] in heard):
        named = f"{style.get('name') or style['id'][:12]} {style['weight']:g}"
        parts.append(say("{style} (missing)", style=named) if style["id"] in facts["missing"] else named)
    return ", ".join(parts)
