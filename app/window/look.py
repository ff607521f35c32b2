"""How the page looks: one calm theme, light and dark, fonts of the system only, nothing fetched from elsewhere.

The colours stand here, the layout in the `.css` files here and in the rooms: `look.css` for what all rooms share, and
one for each room that needs its own.
"""

from __future__ import annotations

import inspect
from pathlib import Path

import gradio as gr

FONT = ["ui-sans-serif", "system-ui", "Segoe UI", "Helvetica Neue", "Arial", "sans-serif"]
MONO = ["ui-monospace", "Menlo", "Consolas", "monospace"]

# Warm paper and dark ink by day, charcoal and chalk by night; viridian for what can be done.
LIGHT = {
    "page": "#f5f2eb",
    "surface": "#fffefb",
    "field": "#ffffff",
    "pressed": "#ebe6db",
    "ink": "#221f1a",
    "soft_ink": "#5f584d",
    "line": "#ded7c9",
    "field_line": "#938876",
    "track": "#d6cebe",
    "accent": "#12675c",
    "accent_strong": "#0c4d45",
    "accent_soft": "#e0eeea",
    "on_accent": "#ffffff",
    "bad": "#a3331f",
    "bad_soft": "#fbeae5",
    "warn": "#7d5200",
    "warn_soft": "#fbf0d9",
}
DARK = {
    "page": "#1a1816",
    "surface": "#23211e",
    "field": "#2b2825",
    "pressed": "#3a3632",
    "ink": "#f1ece3",
    "soft_ink": "#bdb5a8",
    "line": "#413c36",
    "field_line": "#857c70",
    "track": "#57514a",
    "accent": "#63c7b7",
    "accent_strong": "#86d8ca",
    "accent_soft": "#20413c",
    "on_accent": "#0b1f1b",
    "bad": "#f3907c",
    "bad_soft": "#42231c",
    "warn": "#e9bd68",
    "warn_soft": "#3b2f17",
}
VIRIDIAN = gr.themes.Color(
    "#eef7f5", "#e0eeea", "#bfe0d9", "#8fcabf", "#63c7b7", "#2a8f81",
    "#1a7a6d", "#12675c", "#0c4d45", "#0a3d37", "#062622",
)  # fmt: skip
STONE = gr.themes.Color(
    "#fffefb", "#f5f2eb", "#ded7c9", "#c9c0af", "#938876", "#756b5d",
    "#5f584d", "#413c36", "#2b2825", "#221f1a", "#1a1816",
)  # fmt: skip
SIGN = Path(__file__).with_name("sign.svg")
TEXT = gr.themes.Size(xxs="11px", xs="12px", sm="13px", md="15px", lg="16px", xl="20px", xxl="26px")

# What each of our colours is called in gradio's theme.
PLACES = {
    "page": ("body_background_fill", "background_fill_primary"),
    "surface": (
        "background_fill_secondary", "block_background_fill", "block_label_background_fill", "panel_background_fill",
        "table_even_background_fill", "table_odd_background_fill",
    ),
    "field": ("input_background_fill", "checkbox_background_color", "button_secondary_background_fill",
              "checkbox_label_background_fill"),
    "pressed": ("button_secondary_background_fill_hover", "checkbox_label_background_fill_hover", "code_background_fill"),
    "ink": (
        "body_text_color", "block_title_text_color", "block_label_text_color", "button_secondary_text_color",
        "button_secondary_text_color_hover", "checkbox_label_text_color", "checkbox_label_text_color_selected",
        "accordion_text_color", "table_text_color",
    ),
    "soft_ink": ("body_text_color_subdued", "block_info_text_color", "input_placeholder_color"),
    "line": ("border_color_primary", "block_border_color", "block_label_border_color", "panel_border_color",
             "table_border_color"),
    "field_line": (
        "input_border_color", "input_border_color_hover", "checkbox_border_color", "checkbox_border_color_hover",
        "button_secondary_border_color", "button_secondary_border_color_hover", "checkbox_label_border_color",
        "checkbox_label_border_color_hover",
    ),
    "accent": (
        "color_accent", "border_color_accent", "button_primary_background_fill", "button_primary_border_color",
        "input_border_color_focus", "checkbox_background_color_selected", "checkbox_border_color_selected",
        "checkbox_border_color_focus", "checkbox_label_border_color_selected", "link_text_color",
        "link_text_color_visited", "link_text_color_active", "slider_color", "loader_color", "stat_background_fill",
    ),
    "accent_strong": ("button_primary_background_fill_hover", "button_primary_border_color_hover",
                      "link_text_color_hover"),
    "accent_soft": ("color_accent_soft", "checkbox_label_background_fill_selected", "table_row_focus"),
    "on_accent": ("button_primary_text_color", "button_primary_text_color_hover"),
    "bad": ("error_text_color", "error_border_color", "error_icon_color", "button_cancel_text_color",
            "button_cancel_text_color_hover", "button_cancel_border_color", "button_cancel_border_color_hover"),
    "bad_soft": ("error_background_fill", "button_cancel_background_fill_hover"),
}  # fmt: skip


def has_dark(name: str) -> bool:
    """Whether gradio's theme takes another value for the dark; the few others are written into our own layout."""
    return f"{name}_dark" in inspect.signature(gr.themes.Base.set).parameters


def theme() -> gr.themes.Base:
    """Our colours in every place that gradio has for one."""
    coloured: dict[str, str] = {}
    for colour, names in PLACES.items():
        for name in names:
            coloured |= {name: LIGHT[colour]} | ({f"{name}_dark": DARK[colour]} if has_dark(name) else {})
    plain = gr.themes.Base(
        primary_hue=VIRIDIAN, secondary_hue=VIRIDIAN, neutral_hue=STONE, font=FONT, font_mono=MONO,
        text_size=TEXT, radius_size=gr.themes.sizes.radius_lg,
    )  # fmt: skip
    return plain.set(
        **coloured,
        button_cancel_background_fill=LIGHT["field"], button_cancel_background_fill_dark=DARK["field"],
        input_border_width="1px", checkbox_border_width="1px", checkbox_label_border_width="1px",
        button_border_width="1px", block_border_width="1px", block_shadow="none",
        block_title_text_weight="600", block_label_text_weight="600", button_small_text_weight="500",
        block_info_text_size="*text_sm", input_padding="9px 12px", block_padding="14px 16px",
        button_large_padding="11px 22px", button_medium_padding="8px 16px", button_small_padding="5px 12px",
        checkbox_label_padding="8px 14px", checkbox_label_gap="8px",
    )  # fmt: skip


def css() -> str:
    """All of our layout as one text, with the colours that gradio's theme has no name for."""
    night = DARK | {
        name: DARK[colour] for colour, names in PLACES.items() for name in names if not has_dark(name)
    }
    ours = [
        f"{where} {{ " + " ".join(f"--{name.replace('_', '-')}: {colour};" for name, colour in colours.items()) + " }"
        for where, colours in ((":root, .gradio-container", LIGHT), (".dark, .dark .gradio-container", night))
    ]  # fmt: skip
    files = sorted(Path(__file__).parent.rglob("*.css"))
    return "\n".join([*ours, *(file.read_text(encoding="utf-8") for file in files)])
