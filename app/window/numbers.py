"""Number fields that may stay empty, where the preset or the base decides.

They are text fields: gradio's own number field shows a 0 for nothing when it is drawn late, in an accordion, and
JavaScript rounds seeds above 2**53.
"""

from __future__ import annotations

import gradio as gr

from app.create import form as create_form


def number_field(label: str, empty: str, value: int | float | None = None) -> gr.Textbox:
    """A field for a number; `empty` says in grey what holds while nothing stands in it."""
    return gr.Textbox(
        label=label, value="" if value is None else f"{value}", placeholder=empty, max_lines=1, min_width=120
    )


def whole(field: gr.Textbox, text: str | None) -> int | None:
    """The whole number in a field, None where it is empty; raises BadInput."""
    return create_form.whole(field.label, text)


def real(field: gr.Textbox, text: str | None) -> float | None:
    """The number in a field, None where it is empty; raises BadInput."""
    return create_form.real(field.label, text)
