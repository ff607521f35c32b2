"""What a training would be of: its artworks as it will see them, its plan, and what is left out and why."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from app.i18n import say, say_count, translated
from app.orders import TrainingOrder
from app.train.artwork_cards import count_said, remark_words
from app.train.form import NUMBERS, shown_of
from app.train.looks import Grid, looked_at
from styles.errors import PictureError
from styles.storage.home import expanded
from styles.text import Text
from training.artworks.collecting import collect
from training.artworks.dataset import Artwork, KnownPicture, inspect
from training.artworks.picture_checks import Framing, PictureCheck, Remark, framing, remarks
from training.plan import TrainingPlan


@dataclass(frozen=True)
class SurveyedArtwork:
    """An artwork with the part of it that is trained on, and what may be wrong with it."""

    artwork: Artwork
    framing: Framing
    remarks: tuple[Remark, ...]


@dataclass(frozen=True)
class Survey:
    """All artworks of a training that was asked for, its plan, and what is to be known beside."""

    plan: TrainingPlan
    artworks: tuple[SurveyedArtwork, ...]
    notes: tuple[Text, ...]

    @property
    def known(self) -> Mapping[Path, KnownPicture]:
        """What need not be looked at once more."""
        return {
            one.artwork.path: KnownPicture(one.artwork.size_px, one.artwork.repeats) for one in self.artworks
        }

    def counted(self) -> str:
        """How many artworks and captions there are, and masks."""
        captions = sum(bool(one.artwork.own_caption) for one in self.artworks)
        masks = sum(one.artwork.mask is not None for one in self.artworks)
        words = [count_said(len(self.artworks), captions)]
        if masks:
            words.append(say_count(masks, "1 has a mask.", "{count} have a mask."))
        return " ".join(words)

    def remarked(self) -> list[str]:
        """What may be wrong, a line for each artwork that it concerns."""
        return [
            f"{one.artwork.path.name}: {' '.join(self._remarks_of(one))}"
            for one in self.artworks
            if one.remarks
        ]

    def lines(self) -> list[str]:
        """All of it, as one reads it."""
        lines = [self.counted()]
        for one in self.artworks:
            lines += [f"  {_described(one)}", *(f"    {words}" for words in self._remarks_of(one))]
        lines += [translated(note) for note in self.notes]
        lines.append(say("The plan, on {base}:", base=self.plan.base))
        for number in NUMBERS.values():
            value = shown_of(self.plan, number).replace("\n", " · ")
            lines.append(f"  {say(number.setting.label)}: {value}")
        lines.append(say("Nothing was trained."))
        return lines

    def facts(self) -> dict[str, Any]:
        """The same as plain JSON values."""
        return {
            "artworks": [
                {
                    "file": str(one.artwork.path),
                    "size_px": list(one.artwork.size_px),
                    "bucket_px": list(one.framing.bucket_px),
                    "crop": [round(share, 4) for share in one.framing.box],
                    "caption": one.artwork.caption,
                    "has_caption": bool(one.artwork.own_caption),
                    "repeats": one.artwork.repeats,
                    "mask": str(one.artwork.mask) if one.artwork.mask else None,
                    "remarks": self._remarks_of(one),
                }
                for one in self.artworks
            ],
            "captions": sum(bool(one.artwork.own_caption) for one in self.artworks),
            "notes": list(self.notes),
            "plan": asdict(self.plan),
        }

    def _remarks_of(self, one: SurveyedArtwork) -> list[str]:
        names = [other.artwork.path.name for other in self.artworks]
        return [remark_words(remark, names) for remark in one.remarks]


def survey(order: TrainingOrder, plan: TrainingPlan, grid: Grid) -> Survey:
    """Look at the artworks of an order, each opened once; raises as `training.artworks.dataset.inspect`."""
    paths = [expanded(path).absolute() for path in order.pictures]
    looks: dict[Path, PictureCheck] = {}
    known: dict[Path, KnownPicture] = {}
    for picture in collect(paths, order.caption_ending).pictures:
        # What can't be read is told below, as for a training.
        with suppress(PictureError):
            looks[picture.file.path], _ = looked_at(picture.file.path, grid)
            known[picture.file.path] = KnownPicture(looks[picture.file.path].size_px, picture.repeats)
    dataset = inspect(paths, plan.trigger, known, order.caption_ending)
    # What was read only at the second look has none.
    seen = [artwork for artwork in dataset.artworks if artwork.path in looks]
    said = remarks([looks[artwork.path] for artwork in seen], grid.resolution_px, grid.multiple_px)
    return Survey(
        plan,
        tuple(
            SurveyedArtwork(artwork, framing(artwork.size_px, grid.resolution_px, grid.multiple_px), notes)
            for artwork, notes in zip(seen, said, strict=True)
        ),
        dataset.warnings,
    )


def _described(one: SurveyedArtwork) -> str:
    """An artwork on one line: its size, what is seen of it, how often, with which words."""
    artwork, (width, height), (seen_width, seen_height) = (
        one.artwork,
        one.artwork.size_px,
        one.framing.bucket_px,
    )
    parts = [
        say(
            "{file}: {width} x {height} px, seen as {seen_width} x {seen_height}",
            file=artwork.path.name,
            width=width,
            height=height,
            seen_width=seen_width,
            seen_height=seen_height,
        )
    ]
    if one.framing.lost > 0:
        parts.append(say("{share} % cut off", share=round(one.framing.lost * 100)))
    if artwork.repeats > 1:
        parts.append(say_count(artwork.repeats, "1 time", "{count} times"))
    if artwork.mask is not None:
        parts.append(say("with the mask {file}", file=artwork.mask.name))
    caption = say("“{caption}”", caption=artwork.caption)
    parts.append(caption if artwork.own_caption else say("without a caption: {caption}", caption=caption))
    return ", ".join(parts)
