"""Number fields that may stay empty, where the preset or the base decides.

They are text fields: gradio's own number field shows a 0 for nothing when it is drawn late, in an accordion, and
JavaScript rounds seeds above 2**53.
"""

from __future__ import annotations

import gradio as gr

from styles.errors import BadInput


def number_field(label: str, empty: str, value: int | float | None = None) -> gr.Textbox:
    """A field for a number; `empty` says in grey what holds while nothing stands in it."""
    return gr.Textbox(label=label, value=shown(value), placeholder=empty, max_lines=1, min_width=120)


def shown(number: int | float | None) -> str:
    """A number as it stands in its field."""
    return "" if number is None else f"{number}"


def whole(field: gr.Textbox, text: str | None) -> int | None:
    """The whole number in a field, None where it is empty; raises BadInput."""
    number = real(field, text)
    if number is None or text is None:
        return None
    try:
        return int(text.strip())
    except ValueError:
        raise BadInput(f"{field.label}: “{text.strip()}” is no whole number.", "Write digits only.") from None


def real(field: gr.Textbox, text: str | None) -> float | None:
    """The number in a field, None where it is empty; raises BadInput."""
    if text is None or not text.strip():
        return None
    try:
        return float(text.strip().replace(",", "."))
    except ValueError:
        raise BadInput(
            f"{field.label}: “{text.strip()}” is no number.", "Write it like 512 or 0.5."
        ) from None
