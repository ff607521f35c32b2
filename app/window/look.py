"""How the page looks: one calm theme, fonts of the system only, nothing fetched from elsewhere."""

from __future__ import annotations

import gradio as gr

FONT = ["ui-sans-serif", "system-ui", "Segoe UI", "Helvetica Neue", "Arial", "sans-serif"]
MONO = ["ui-monospace", "Menlo", "Consolas", "monospace"]


def theme() -> gr.themes.Base:
    """Warm paper, dark ink, one accent."""
    return gr.themes.Base(
        primary_hue=gr.themes.colors.teal,
        neutral_hue=gr.themes.colors.stone,
        font=FONT,
        font_mono=MONO,
        radius_size=gr.themes.sizes.radius_md,
    ).set(
        body_background_fill="#faf8f4",
        body_background_fill_dark="#1b1a18",
        block_border_width="1px",
        block_shadow="none",
        block_title_text_weight="600",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_600",
        button_primary_text_color="white",
        slider_color="*primary_600",
    )


CSS = """
.gradio-container { width: 100%; max-width: 1240px !important; margin: 0 auto !important; }
footer { display: none !important; }
#masthead { padding: 6px 2px 0; }
#masthead h1 { font-size: 1.5rem; font-weight: 650; letter-spacing: -0.01em; margin: 0; }
#masthead p { margin: 0; color: var(--body-text-color-subdued); }
.quiet, .quiet p { color: var(--body-text-color-subdued); font-size: 0.9rem; }
.progress-card { padding: 4px 2px; }
.progress-card .phase { font-size: 1.15rem; font-weight: 600; }
.progress-card .numbers { color: var(--body-text-color-subdued); margin: 2px 0 8px; font-variant-numeric: tabular-nums; }
.progress-card .bar { height: 8px; border-radius: 4px; background: var(--border-color-primary); overflow: hidden; }
.progress-card .bar span { display: block; height: 100%; background: var(--primary-600); transition: width 0.4s ease; }
.progress-card .warning { margin-top: 8px; padding: 6px 10px; border-left: 3px solid #c98a1b; background: #c98a1b14; }
.progress-card .failure { margin-top: 8px; padding: 6px 10px; border-left: 3px solid #b3422e; background: #b3422e14; }
.progress-card svg { width: 100%; height: 120px; margin-top: 12px; display: block; }
.progress-card svg .line { fill: none; stroke: var(--primary-600); stroke-width: 2; vector-effect: non-scaling-stroke; }
.progress-card svg .raw { fill: none; stroke: var(--border-color-primary); stroke-width: 1; vector-effect: non-scaling-stroke; }
.progress-card .axis { display: flex; justify-content: space-between; color: var(--body-text-color-subdued); font-size: 0.8rem; }
.card { border: 1px solid var(--border-color-primary); border-radius: 8px; padding: 8px 12px 12px; gap: 8px !important;
  background: var(--block-background-fill); }
.style-card { display: flex; gap: 14px; padding: 6px 0; min-height: 108px; }
.style-card .thumb { width: 96px; height: 96px; flex: none; border-radius: 8px; object-fit: cover;
  background: repeating-linear-gradient(45deg, var(--border-color-primary) 0 6px, transparent 6px 12px); }
.style-card h3 { margin: 0 0 2px; font-size: 1.05rem; overflow-wrap: anywhere; }
.style-card p { margin: 0; font-size: 0.87rem; color: var(--body-text-color-subdued); overflow-wrap: anywhere; }
.style-card .problem { color: #b3422e; }
.style-card code { background: var(--border-color-primary); padding: 0 5px; border-radius: 4px; color: var(--body-text-color); }
.facts { width: 100%; border-collapse: collapse; }
.facts, .facts tr, .facts td { border: 0 !important; }
.facts td { padding: 5px 10px 5px 0 !important; vertical-align: top; overflow-wrap: anywhere;
  border-bottom: 1px solid var(--border-color-primary) !important; }
.facts td:first-child { color: var(--body-text-color-subdued); white-space: nowrap; }
"""
