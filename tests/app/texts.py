"""What Atelier says, collected from its source: `python -m tests.app.texts` brings the catalogues up to date with it."""

from __future__ import annotations

import ast
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from string import Formatter

from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po, write_po

import styles.errors
from app.i18n import LANGUAGES, LOCALE
from tests.conftest import REPOSITORY

PACKAGES = ("app", "training", "styles")
ERRORS = {"memory_errors"} | {
    name
    for name, kind in vars(styles.errors).items()
    if isinstance(kind, type) and issubclass(kind, styles.errors.AtelierError)
}
# What a header needs not: git knows who changed what, and when.
UNKEPT = rb'"(Project-Id-Version|Report-Msgid|POT-|PO-Rev|Last-Tr|Language-Team|Generated-By).*\n'
SAYING = {"say", "unsaid"}
# What a setting says of itself, and its class of a value that can't be taken.
DECLARING = {"Setting": ("label", "help", "unset", "refused"), "settings": ("refused",)}
COUNTING = {"say_count": 1, "Text": 0}  # where the two templates stand of which a number chooses one


@dataclass(frozen=True)
class Template:
    """A template with where it stands; `plural` is the one for several, where a number chooses."""

    text: str
    plural: str
    file: str
    line: int

    @property
    def where(self) -> str:
        return f"{self.file}:{self.line}"


def modules(*packages: str) -> Iterator[tuple[str, ast.Module]]:
    """The modules of some packages, parsed."""
    for package in packages:
        for file in sorted((REPOSITORY / package).rglob("*.py")):
            yield file.relative_to(REPOSITORY).as_posix(), ast.parse(file.read_text(encoding="utf-8"))


def calls(*packages: str) -> Iterator[tuple[str, ast.Call, str]]:
    """Each call of a class of ours or a function that a module imports, with its file and name."""
    for file, module in modules(*packages):
        nodes = list(ast.walk(module))
        imports = (node for node in nodes if isinstance(node, ast.ImportFrom))
        names = {alias.name for node in imports for alias in node.names}
        names |= {node.name for node in nodes if isinstance(node, ast.ClassDef)}
        for node in nodes:
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
                yield file, node, node.func.id


def templates_in(*packages: str) -> Iterator[Template]:
    """Every template in the source that has words, in the order in which they stand."""
    for file, call, name in calls(*packages):
        given = [literals(text) for text in texts_in(call, name)]
        if name in COUNTING and len(given) == 2:
            pairs = [(one, many) for one, many in zip(*given, strict=True)]
        else:
            pairs = [(template, "") for templates in given for template in templates]
        yield from (Template(*texts, file, call.lineno) for texts in pairs if has_words(texts[0]))


def texts_in(call: ast.Call, name: str) -> list[ast.expr]:
    """The arguments of a call that are templates; none where it says nothing."""
    if name in SAYING:
        return call.args[:1]
    if name in COUNTING:
        return call.args[COUNTING[name] : COUNTING[name] + 2]
    if name in DECLARING:
        given = call.args[:2] if name == "Setting" else call.args[1:2]
        return [*given, *(word.value for word in call.keywords if word.arg in DECLARING[name])]
    if name not in ERRORS:
        return []
    return [*call.args[:2], *(word.value for word in call.keywords if word.arg in ("message", "hint"))]


def literals(node: ast.expr) -> list[str]:
    """The strings that an expression may come to, as far as they stand in the source."""
    match node:
        case ast.Constant(value=str(words)):
            return [words]
        case ast.IfExp(body=one, orelse=other):
            return literals(one) + literals(other)
        case ast.BoolOp(values=values):
            return [words for value in values for words in literals(value)]
    return []


def has_words(template: str) -> bool:
    """Whether there is anything to translate beside the places: letters, or quotation marks."""
    return bool(re.search("[^\\W\\d_]|“", "".join(literal for literal, *_ in Formatter().parse(template))))


def places(template: str) -> set[tuple[str, str, str]]:
    """The places of a template: name, how the value is written, and how it is turned into a string."""
    parsed = Formatter().parse(template)
    return {(name, spec or "", turned or "") for _, name, spec, turned in parsed if name is not None}


def catalogue_file(language: str) -> Path:
    """The catalogue that translators write in."""
    return LOCALE / language / "LC_MESSAGES" / "atelier.po"


def catalogue_of(language: str) -> Catalog:
    """The catalogue of a language as it is; an empty one where nothing was translated yet."""
    if not catalogue_file(language).exists():
        return Catalog(locale=language)
    with catalogue_file(language).open("rb") as file:
        return read_po(file, locale=language)


def template_catalogue() -> Catalog:
    """A catalogue of everything that is said, without translations."""
    catalogue = Catalog(project="Atelier", charset="utf-8")
    for one in templates_in(*PACKAGES):
        catalogue.add((one.text, one.plural) if one.plural else one.text, locations=[(one.file, None)])
    return catalogue


def updated(language: str) -> Catalog:
    """The catalogue of a language with all that is said now and nothing else; what is new has no translation yet."""
    catalogue = catalogue_of(language)
    catalogue.update(template_catalogue(), no_fuzzy_matching=True, update_header_comment=False)
    catalogue.obsolete.clear()
    return catalogue


def lacking(language: str) -> dict[str, str]:
    """Each text without a translation, and where it stands."""
    catalogue = catalogue_of(language)
    return {one.text: one.where for one in templates_in(*PACKAGES) if not is_translated(catalogue, one)}


def is_translated(catalogue: Catalog, one: Template) -> bool:
    """Whether a catalogue has words for a text, in all its forms."""
    message = catalogue.get(one.text)
    if message is None:
        return False
    forms = message.string if isinstance(message.string, tuple) else (message.string,)
    return all(forms) and (not one.plural or len(forms) == catalogue.num_plurals)


def write(catalogue: Catalog, language: str) -> None:
    """Write a catalogue, in the order of the files that its texts stand in, without names and dates that git knows."""
    catalogue.fuzzy, catalogue.header_comment = False, f"# Atelier, {catalogue.locale_identifier}"
    written = io.BytesIO()
    write_po(written, catalogue, width=0, sort_by_file=True, include_lineno=False, ignore_obsolete=True)
    file = catalogue_file(language)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(re.sub(UNKEPT, b"", written.getvalue()))


if __name__ == "__main__":
    for spoken in LANGUAGES[1:]:
        write(updated(spoken), spoken)
        for template, where in lacking(spoken).items():
            print(f"{spoken} lacks {where}: {template!r}")
