"""What Atelier says, collected from its source: `python -m tests.app.texts` lists what lacks a translation."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from dataclasses import dataclass

import styles.errors
from app.words import LANGUAGES, catalogue
from tests.conftest import REPOSITORY

SAYING = {"say": 1, "say_count": 3, "unsaid": 1}  # how many of the first arguments may hold a text
ERRORS = {
    name
    for name, kind in vars(styles.errors).items()
    if isinstance(kind, type) and issubclass(kind, styles.errors.AtelierError)
}


@dataclass(frozen=True)
class Text:
    """A text with where it stands."""

    words: str
    where: str


def modules(*packages: str) -> Iterator[tuple[str, ast.Module]]:
    """The modules of some packages, parsed."""
    for package in packages:
        for file in sorted((REPOSITORY / package).rglob("*.py")):
            yield str(file.relative_to(REPOSITORY)), ast.parse(file.read_text(encoding="utf-8"))


def said_texts() -> list[Text]:
    """Every text that `app/` asks `app.words` for."""
    found = []
    for name, module in modules("app"):
        asked = {
            alias.asname or alias.name: alias.name
            for node in ast.walk(module)
            if isinstance(node, ast.ImportFrom) and node.module == "app.words"
            for alias in node.names
        }
        for node in ast.walk(module):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                most = SAYING.get(asked.get(node.func.id, ""), 0)
                for argument in node.args[:most]:
                    where = f"{name}:{node.lineno}"
                    assert not isinstance(argument, ast.JoinedStr), f"{where}: a place, not an f-string"
                    found += [Text(words, where) for words in texts_of(argument)]
    return found


def raised_texts(*packages: str) -> list[Text]:
    """Every text of an error of ours, with `{}` for what is put into it."""
    found = []
    for name, module in modules(*packages):
        for node in ast.walk(module):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ERRORS:
                given = [*node.args, *(keyword.value for keyword in node.keywords)]
                for argument in given:
                    found += [Text(words, f"{name}:{node.lineno}") for words in texts_of(argument)]
    return found


def texts_of(node: ast.expr) -> list[str]:
    """The texts that an expression may come to, as far as its source says."""
    match node:
        case ast.Constant(value=str(words)):
            return [words] if words else []
        case ast.JoinedStr(values=parts):
            return ["".join(piece_of(part) for part in parts)]
        case ast.IfExp(body=one, orelse=other):
            return texts_of(one) + texts_of(other)
        case ast.BoolOp(values=values):
            return [words for value in values for words in texts_of(value)]
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return [first + last for first in texts_of(left) or ["{}"] for last in texts_of(right) or ["{}"]]
    return []


def piece_of(part: ast.expr) -> str:
    """A part of an f-string: its words, or the place."""
    if isinstance(part, ast.Constant):
        return str(part.value).replace("{", "{{").replace("}", "}}")
    return "{}"


def lacking(language: str) -> dict[str, str]:
    """Each text without a translation, and where it stands."""
    known = catalogue(language)
    texts = [*said_texts(), *raised_texts("app", "training", "styles")]
    return {text.words: text.where for text in texts if text.words not in known}


if __name__ == "__main__":
    for spoken in LANGUAGES[1:]:
        print(json.dumps(lacking(spoken), indent=1, ensure_ascii=False))
