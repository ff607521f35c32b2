"""What an import would bring, shown before anything is taken: a card for each style, or the reason why it is refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from styles.errors import AtelierError, StyleFileError
from styles.formats.layer_inspection import Judged
from styles.formats.reader import read_judged
from styles.formats.style import StyleCard
from styles.library.folder import SUFFIX, free_path, name_of
from styles.library.header_cache import likeness_of
from styles.library.importer import ImportSource, name_from, sources
from styles.library.library import Library
from styles.library.side_files import side_thumbnail, with_side_text
from styles.storage.names import folded, suggested_name
from styles.text import NO_TEXT, Text

PARTS = ("cross-attention", "self-attention", "the text encoder", "other parts")


@dataclass(frozen=True)
class ImportCard:
    """A style as its file shows it, under the name that it would get; or why it can't be imported.

    The card has id and thumbnail, and is None for a file that can't be read. `proven` says that the shapes of its
    layers show which base it is for, and not only its words; `changes` how many layers it changes of each of PARTS.
    """

    file: Path
    card: StyleCard | None
    reason: Text = NO_TEXT
    proven: bool = False
    changes: tuple[tuple[str, int], ...] = ()


def import_cards(paths: Iterable[Path], library: Library) -> Iterator[ImportCard]:
    """Look at files, PEFT folders or all of a folder as `Library.import_files` does, and yield what it would make of each.

    Nothing is written. Every style is read whole, so that nothing is promised that the import then refuses.
    """
    look = library.look()
    used_names = {folded(entry.name) for entry in look.entries}
    used_names |= {folded(name_of(one.file)) for one in look.unreadable}
    seen: dict[str, str] = {}  # names by id, of those before it
    for path, source in sources(paths):
        try:
            if source is None:
                raise StyleFileError(
                    "There is no style file in {path}.", "Styles end in {suffix}.", path=path, suffix=SUFFIX
                )
            yield _looked_at(source, library, used_names, seen)
        except AtelierError as error:
            yield ImportCard(path, None, error.text)
        except OSError as error:  # taken away meanwhile
            yield ImportCard(
                path, None, Text("{path} can't be read: {reason}.", path=path, reason=error.strerror)
            )


def _looked_at(
    source: ImportSource, library: Library, used_names: set[str], seen: dict[str, str]
) -> ImportCard:
    path = source.path
    style, judged = read_judged(path)
    card = with_side_text(style.card, path)
    name = suggested_name(name_from(path))
    twin = library.twin(card.id, likeness_of(path))
    twin_name = seen.get(card.id) or (twin.name if twin else "")
    reason = (
        Text("This style is in the library already, as “{name}”.", name=twin_name) if twin_name else Text("")
    )
    if not reason:
        suffix = "" if path.is_dir() else SUFFIX
        name = name_of(free_path(library.folder / source.inner, name, used_names, suffix))
        used_names.add(folded(name))
        seen[card.id] = name
    shown = replace(card, name=name, thumbnail=side_thumbnail(path) or card.thumbnail)
    return ImportCard(path, shown, reason, bool(judged.family), _changes(judged))


def _changes(judged: Judged) -> tuple[tuple[str, int], ...]:
    def part(network: str, path: str) -> str:
        if network != "unet":
            return "the text encoder"
        return (
            "cross-attention"
            if ".attn2." in path
            else "self-attention"
            if ".attn1." in path
            else "other parts"
        )

    counts = Counter(part(layer.network, layer.path) for layer in judged.layers)
    return tuple((name, counts[name]) for name in PARTS if counts[name])
