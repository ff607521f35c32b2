"""What of the files in artists' folders is trained on: pictures, their captions and masks; the rest is named.

kohya's folders (`10_ink drawing`: ten repeats) are sd-scripts' `train_data_dir`; `-masklabel` is OneTrainer's.
"""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal

from styles.storage.names import clean_text
from styles.text import Text, quoted
from training.artworks.captions import CAPTION_ENDINGS

PICTURE_ENDINGS = frozenset(
    [
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".webp",
        ".tif",
        ".tiff",
        ".bmp",
        ".heic",
        ".heif",
        ".hif",
        ".avif",
        ".psd",
        ".gif",
    ]
)
MASK, CONDITION = "-masklabel", "-condlabel"
MOST_REPEATS = 1000  # a larger number before a folder's name is a year or a date
NAMED = 3  # in a sentence
SYSTEM_FOLDERS = frozenset(
    (
        "@eadir", "@tmp", "@recycle", "@recently-snapshot", "#recycle", "#snapshot", "__macosx", "$recycle.bin",
        "system volume information", "lost+found",
    )
)  # fmt: skip
REGULARIZATION = re.compile(r"(reg|regs|regul?ari[sz]ation)([ _-]?(images?|imgs?|data|pictures?|dir))?", re.I)
RESULT_FOLDERS = frozenset(("model", "models", "output", "outputs"))
# As sd-scripts and OneTrainer name the pictures that they paint while they train.
SAMPLE_NAME = re.compile(r".*_e?\d{6}_\d{2}_\d{14}(_\d+)?|.*-training-sample-\d+-\d+-\d+")

Reason = Literal["hidden", "system", "regularization", "samples", "masks", "conditions"]


@dataclass(frozen=True)
class GivenFile:
    """A file, and where it lay among what was given."""

    path: Path
    # From the folder that was given on, with that folder's name.
    shown: PurePosixPath
    # It was given by itself, so it is meant.
    is_named: bool = False

    @property
    def folder(self) -> PurePosixPath:
        return self.shown.parent


@dataclass(frozen=True)
class FoundPicture:
    """A picture to train on, with what belongs to it."""

    file: GivenFile
    captions: tuple[GivenFile, ...] = ()  # the first counts
    mask: GivenFile | None = None
    repeats: int = 1


@dataclass(frozen=True)
class Found:
    """The pictures among given files in the order given, and what is to be said.

    `captions` are those that were given by themselves, without their pictures.
    """

    pictures: tuple[FoundPicture, ...]
    captions: tuple[GivenFile, ...] = ()
    notes: tuple[Text, ...] = ()


def sort_out(files: Iterable[GivenFile], caption_ending: str = "") -> Found:
    """Tell pictures, captions and masks from what a training of another program, a NAS or a system has left there.

    `caption_ending` is that of captions where it is not one of the usual.
    """
    given = list(files)
    sorting = _sorted(given, given_folders=True, caption_ending=caption_ending)
    if not sorting.pictures:
        # Whoever gives such a folder alone means it.
        sorting = _sorted(given, given_folders=False, caption_ending=caption_ending)
    return sorting.found()


def caption_endings(caption_ending: str = "") -> tuple[str, ...]:
    """Return the endings of captions, the one that was asked for first."""
    ending = caption_ending.strip().lower()
    own = (f".{ending.lstrip('.')}",) if ending else ()
    return tuple(dict.fromkeys((*own, *CAPTION_ENDINGS)))


@dataclass
class _Sorting:
    pictures: list[GivenFile] = field(default_factory=list)
    captions: dict[tuple[PurePosixPath, str], list[GivenFile]] = field(
        default_factory=lambda: defaultdict(list)
    )
    masks: dict[tuple[PurePosixPath, str], GivenFile] = field(default_factory=dict)
    left_out: dict[Reason, list[GivenFile]] = field(default_factory=lambda: defaultdict(list))

    def found(self) -> Found:
        pictures: list[FoundPicture] = []
        used: set[Path] = set()
        masks = dict(self.masks)
        for file in self.pictures:
            keys = _caption_keys(file)
            captions = [caption for key in keys for caption in self.captions.get(key, ())]
            used.update(caption.path for caption in captions)
            mask = self.masks.get(keys[0])
            masks.pop(keys[0], None)
            pictures.append(FoundPicture(file, tuple(captions), mask, repeats_of(file.folder.name)))
        if masks:
            self.left_out["masks"] += masks.values()
        unused = [
            caption for files in self.captions.values() for caption in files if caption.path not in used
        ]
        orphans = [caption for caption in unused if not caption.is_named]
        notes = [_left_out_said(reason, files) for reason, files in self.left_out.items()]
        notes += _repeats_said(pictures)
        if orphans and any(not picture.captions for picture in pictures):
            notes.append(
                Text(
                    "1 text belongs to no picture by its name: {names}.",
                    "{count} texts belong to no picture by their names: {names}.",
                    count=len(orphans),
                    names=_names(file.shown.name for file in orphans),
                )
            )
        return Found(tuple(pictures), tuple(caption for caption in unused if caption.is_named), tuple(notes))


def _sorted(files: Sequence[GivenFile], given_folders: bool, caption_ending: str) -> _Sorting:
    sorting, endings = _Sorting(), caption_endings(caption_ending)
    stems = {(file.folder, _stem(file)) for file in files if _is_picture(file)}
    for file in files:
        name = PurePosixPath(file.shown.name)
        ending = name.suffix.lower()
        if ending in endings:
            if file.is_named or _reason(file, given_folders) is None:
                key = file.folder, name.stem.casefold()
                sorting.captions[key].append(file)
                sorting.captions[key].sort(
                    key=lambda one: endings.index(PurePosixPath(one.shown.name).suffix.lower())
                )
            continue
        if not _is_picture(file) and not file.is_named:
            continue
        reason = None if file.is_named else _reason(file, given_folders)
        stem = _stem(file)
        if reason is None and stem.endswith(MASK) and (file.folder, stem.removesuffix(MASK)) in stems:
            sorting.masks[file.folder, stem.removesuffix(MASK)] = file
        elif reason is None and not file.is_named and stem.endswith(MASK):
            sorting.left_out["masks"].append(file)
        elif reason is None and not file.is_named and stem.endswith(CONDITION):
            sorting.left_out["conditions"].append(file)
        elif reason is None:
            sorting.pictures.append(file)
        else:
            sorting.left_out[reason].append(file)
    return sorting


def _is_picture(file: GivenFile) -> bool:
    return PurePosixPath(file.shown.name).suffix.lower() in PICTURE_ENDINGS


def _stem(file: GivenFile) -> str:
    return PurePosixPath(file.shown.name).stem.casefold()


def _caption_keys(file: GivenFile) -> list[tuple[PurePosixPath, str]]:
    """Return where a picture's captions are kept: as picture.txt, and as picture.jpg.txt."""
    return [(file.folder, _stem(file)), (file.folder, file.shown.name.casefold())]


def _reason(file: GivenFile, given_folders: bool) -> Reason | None:
    """Say why a file is left out, None where it isn't; `given_folders`: the name of the given folder counts, too."""
    folders = file.shown.parts[0 if given_folders else 1 : -1]
    if any(name.startswith(".") for name in file.shown.parts[1:]):
        return "hidden"
    if any(name.casefold() in SYSTEM_FOLDERS for name in folders):
        return "system"
    if any(REGULARIZATION.fullmatch(name) for name in folders):
        return "regularization"
    inside = itertools.pairwise(folders)
    if any(
        above.casefold() in RESULT_FOLDERS and name.casefold() in ("sample", "samples")
        for above, name in inside
    ) or SAMPLE_NAME.fullmatch(PurePosixPath(file.shown.name).stem):
        return "samples"
    return None


def repeats_of(folder: str) -> int:
    """Return the repeats in the name of a folder of kohya's, such as 10 of `10_ink drawing`; 1 for any other."""
    match = re.fullmatch(r"([1-9]\d{0,3})_.+", folder)
    return int(match[1]) if match and int(match[1]) <= MOST_REPEATS else 1


def _repeats_said(pictures: Sequence[FoundPicture]) -> list[Text]:
    folders = {picture.file.folder: picture for picture in pictures}
    read = [
        Text(
            "{folder}: once",
            "{folder}: {count} times",
            folder=quoted(clean_text(folder.name, 80)),
            count=picture.repeats,
        )
        for folder, picture in sorted(folders.items())
        if picture.repeats > 1 or folder.name.startswith("1_")
    ]
    if not read:
        return []
    return [
        Text(
            "Folders are read as kohya's trainers read them ({folders}): pictures of more repeats are shown as much "
            "more often than others. How long it trains is said by the steps; the words in the folders' names are no "
            "captions.",
            folders=Text.joined(", ", read[:8]),
        )
    ]


def _left_out_said(reason: Reason, files: Sequence[GivenFile]) -> Text:
    by_folder = reason in ("system", "regularization", "samples")
    names = _names(str(file.folder) if by_folder else file.shown.name for file in files)
    count = len(files)
    match reason:
        case "hidden":
            return Text(
                "1 hidden picture is left out: {names}.",
                "{count} hidden pictures are left out: {names}.",
                count=count,
                names=names,
            )
        case "system":
            return Text(
                "1 thumbnail or thrown-away picture is left out: {names}.",
                "{count} thumbnails or thrown-away pictures are left out: {names}.",
                count=count,
                names=names,
            )
        case "regularization":
            return Text(
                "1 regularisation picture is left out: {names}.",
                "{count} regularisation pictures are left out: {names}.",
                count=count,
                names=names,
            )
        case "samples":
            return Text(
                "1 sample that a trainer painted is left out: {names}.",
                "{count} samples that a trainer painted are left out: {names}.",
                count=count,
                names=names,
            )
        case "masks":
            return Text(
                "1 mask is left out, since its picture is missing: {names}.",
                "{count} masks are left out, since their pictures are missing: {names}.",
                count=count,
                names=names,
            )
        case "conditions":
            return Text(
                "1 picture of a condition is left out: {names}.",
                "{count} pictures of a condition are left out: {names}.",
                count=count,
                names=names,
            )


def _names(names: Iterable[str]) -> Text:
    listed = [*dict.fromkeys(names)]
    shown = [quoted(clean_text(name, 80)) for name in listed[:NAMED]]
    return Text.joined(", ", [*shown, "…"] if len(listed) > NAMED else shown)
