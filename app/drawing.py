"""Pieces of HTML for the page. Every text that came from a person or a file is escaped here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from app.train.progress import Progress, words_for_seconds


def progress_card(progress: Progress, title: str = "") -> str:
    """A training at a glance: phase, step, time left, loss curve, warnings."""
    numbers = []
    if progress.steps:
        numbers.append(f"Step {progress.step} of {progress.steps}")
    if progress.seconds_left is not None and not progress.ended:
        numbers.append(f"about {words_for_seconds(progress.seconds_left)} left")
    elif progress.ended and progress.seconds:
        numbers.append(f"{words_for_seconds(progress.seconds)} of training")
    if progress.losses:
        numbers.append(f"loss {progress.losses[-1][1]:.3f}")
    share = 1.0 if progress.finished and not progress.nothing_learnt else progress.share
    parts = [
        f'<div class="phase" role="status">{escape(f"{title}: " if title else "")}{escape(progress.phase)}</div>',
        f'<div class="numbers">{escape(" · ".join(numbers)) or "&nbsp;"}</div>',
        f'<div class="bar" role="progressbar" aria-label="Training progress" aria-valuemin="0" aria-valuemax="100" '
        f'aria-valuenow="{share * 100:.0f}"><span style="width:{share * 100:.1f}%"></span></div>',
    ]
    if progress.failed:
        log = f" The details are in {progress.failed.log}." if progress.failed.log else ""
        parts.append(
            f'<div class="failure">{escape(f"{progress.failed.message} {progress.failed.hint}".strip() + log)}</div>'
        )
    parts += [f'<div class="warning">{escape(warning)}</div>' for warning in progress.warnings[-3:]]
    parts.append(loss_curve(progress.losses, progress.step if progress.finished else progress.steps))
    return f'<div class="progress-card">{"".join(parts)}</div>'


def as_markdown(text: str) -> str:
    """Text that Markdown, and the HTML in it, leaves as it is."""
    return "".join(f"\\{character}" if character in "\\`*_{}[]<>#+!|&" else character for character in text)


def loss_curve(losses: Sequence[tuple[int, float]], steps: int) -> str:
    """The loss over the steps as an SVG: as read, faint, and smoothed."""
    if len(losses) < 2:
        return ""
    low, high = min(loss for _, loss in losses), max(loss for _, loss in losses)
    spread = (high - low) or 1.0
    last_step = max(steps, losses[-1][0])

    def points(values: Iterable[tuple[int, float]]) -> str:
        return " ".join(
            f"{1000 * step / last_step:.1f},{96 - 92 * (loss - low) / spread:.1f}" for step, loss in values
        )

    smooth, mean = [], losses[0][1]
    for step, loss in losses:
        mean += 0.15 * (loss - mean)
        smooth.append((step, mean))
    return (
        '<svg viewBox="0 0 1000 100" preserveAspectRatio="none" role="img" aria-label="Loss over the steps">'
        f'<polyline class="raw" points="{points(losses)}"/><polyline class="line" points="{points(smooth)}"/></svg>'
        f'<div class="axis"><span>loss, from {losses[0][1]:.3f} to {losses[-1][1]:.3f}</span>'
        f"<span>step {last_step}</span></div>"
    )


def facts_table(rows: Iterable[tuple[str, str]]) -> str:
    """Two columns of text."""
    body = "".join(f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in rows)
    return f'<table class="facts">{body}</table>'
