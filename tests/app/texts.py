"""What Atelier says, collected from its source: `python -m tests.app.texts` lists what lacks a translation."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

import styles.errors
from app.i18n import LANGUAGES, catalogue
from tests.conftest import REPOSITORY

SAYING = {"say": 1, "say_count": 3, "unsaid": 1}  # how many of the first arguments may hold a text
PRINTING = {"say", "answer"}  # methods of the console
ERRORS = {"memory_told"} | {
    name
    for name, kind in vars(styles.errors).items()
    if isinstance(kind, type) and issubclass(kind, styles.errors.AtelierError)
}

# Made of parts only, so that they would fit nearly every sentence: what they come to stands in the catalogue instead.
COMPOSED = {"There is {}.", "{} is {}.", "{}: {}", "The {} is {}.", "{} “{}”.", "There is {}{}.", "By {}."}
# Said to a programmer or a terminal's user only, in a language of their own.
UNSAID = {
    "Train the style of one job folder.",
    "Describe pictures.",
    "Measure one training step.",
    "cross",
    "1",
    "Expected pictures (N, H, W, 3) uint8, got {} {}.",
    "Pictures of {}x{} px are too small to measure.",
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
    """Every text that `app/` asks `app.i18n` for."""
    found = []
    for name, module in modules("app"):
        asked = {
            alias.asname or alias.name: alias.name
            for node in ast.walk(module)
            if isinstance(node, ast.ImportFrom) and node.module == "app.i18n"
            for alias in node.names
        }
        for node in ast.walk(module):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                most = SAYING.get(asked.get(node.func.id, ""), 0)
                for argument in node.args[:most]:
                    where = f"{name}:{node.lineno}"
                    assert not isinstance(argument, ast.JoinedStr), f"{where}: a place, not an f-string"
                    found += [Text(unescaped(words), where) for words in texts_of(argument)]
    return found


def raised_texts(*packages: str) -> list[Text]:
    """Every text of an error of ours, with `{}` for what is put into it."""
    found = []
    for name, module in modules(*packages):
        for node in ast.walk(module):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ERRORS:
                named = {keyword.arg: keyword.value for keyword in node.keywords}
                given = [*node.args[:2], *(named[name] for name in ("message", "hint") if name in named)]
                for argument in given:
                    assert not isinstance(argument, ast.JoinedStr), (
                        f"{name}:{node.lineno}: a template, not an f-string"
                    )
                    found += [Text(words, f"{name}:{node.lineno}") for words in texts_of(argument)]
    return found


def printed_texts() -> list[Text]:
    """Every text that a command says or answers with on the terminal."""
    found = []
    for name, module in modules("app"):
        for node in ast.walk(module):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in PRINTING
            ):
                told = [words.strip() for argument in node.args for words in texts_of(argument)]
                found += [
                    Text(words, f"{name}:{node.lineno}") for words in told if re.search("[a-z]{2}.* ", words)
                ]
    return found


def declared_texts(*packages: str) -> list[Text]:
    """Every text of a Setting that a form shows."""
    found = []
    for name, module in modules(*packages):
        for node in ast.walk(module):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Setting":
                named = {keyword.arg: keyword.value for keyword in node.keywords}
                given = [
                    *node.args,
                    *(named[one] for one in ("label", "help", "unset", "group") if one in named),
                ]
                found += [Text(words, f"{name}:{node.lineno}") for one in given for words in texts_of(one)]
    return found


def noted_texts(*packages: str) -> list[Text]:
    """Every whole sentence that is put together for the artist without being an error: notes, warnings, reasons."""
    found = []
    for name, module in modules(*packages):
        aside = set()  # docstrings, and what stands inside an f-string
        for node in ast.walk(module):
            # And what only the command line shows.
            if isinstance(node, ast.Expr) or (isinstance(node, ast.keyword) and node.arg == "option"):
                aside.add(id(node.value))
            if isinstance(node, ast.JoinedStr):
                aside |= {id(inner) for value in node.values for inner in ast.walk(value)}
        for node in ast.walk(module):
            if isinstance(node, ast.Constant | ast.JoinedStr) and id(node) not in aside:
                told = [words.strip() for words in texts_of(node) if is_sentence(words.strip())]
                found += [Text(words, f"{name}:{node.lineno}") for words in told]
    return found


def is_sentence(words: str) -> bool:
    """A text with a capital letter or a place in front, a space inside, and a full stop behind."""
    return bool(re.fullmatch(r"[A-Z“{][^<>]*[a-z}”)] [^<>]*\.", words)) and "  " not in words


def texts_of(node: ast.expr) -> list[str]:
    """The texts that an expression may come to, as far as its source says; a brace that is no place is doubled."""
    match node:
        case ast.Constant(value=str(words)):
            return [escaped(words)] if words else []
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
        return escaped(str(part.value))
    return "{}"


def nameless(template: str) -> str:
    """A template, of which each brace was doubled, with `{}` for its places as the catalogue has it."""
    return re.sub(r"\{\{[a-z_]\w*(![rs])?(:[^{}]*)?\}\}", "{}", template)


def unescaped(words: str) -> str:
    """Words in which a brace begins a place, as `say` takes them."""
    return words.replace("{{", "{").replace("}}", "}")


def escaped(words: str) -> str:
    """Words in which a brace is a brace and no place."""
    return words.replace("{", "{{").replace("}", "}}")


def lacking(language: str) -> dict[str, str]:
    """Each text without a translation, and where it stands."""
    known = catalogue(language)
    below = [*raised_texts("app", "training", "styles"), *printed_texts(), *noted_texts("training", "styles")]
    below += declared_texts("app", "training", "styles")
    below = [Text(nameless(text.words), text.where) for text in below]
    told = [text for text in below if text.words not in COMPOSED | UNSAID]
    return {text.words: text.where for text in [*said_texts(), *told] if text.words not in known}


if __name__ == "__main__":
    for spoken in LANGUAGES[1:]:
        print(json.dumps(lacking(spoken), indent=1, ensure_ascii=False))
