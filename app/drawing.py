"""Pieces of HTML for the page. Every text that came from a person or a file is escaped here."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape


def as_markdown(text: str) -> str:
    """Text that Markdown, and the HTML in it, leaves as it is."""
    return "".join(f"\\{character}" if character in "\\`*_{}[]<>#+!|&" else character for character in text)


def facts_table(rows: Iterable[tuple[str, str]]) -> str:
    """Two columns of text."""
    body = "".join(f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in rows)
    return f'<table class="facts">{body}</table>'
