"""Trigger words in captions and prompts."""

from __future__ import annotations

import re


def holds_trigger(text: str, trigger: str) -> bool:
    """Say whether the trigger stands in the text as a word of its own, whatever its case: no "ink" in "pink"."""
    return re.search(rf"(?<!\w){re.escape(trigger)}(?!\w)", text, re.IGNORECASE) is not None


def is_left_out(prompt: str, trigger: str, weight: float) -> bool:
    """Say whether who painted a prompt with a style, at most at this weight, wanted its trigger word out of it."""
    return weight > 0 and bool(trigger.strip()) and not holds_trigger(prompt, trigger)


def with_trigger(text: str, trigger: str) -> str:
    """Return the text with the trigger in front, unless it is in it; in front the token limit never cuts it off."""
    text, trigger = text.strip(), trigger.strip()
    if not trigger or holds_trigger(text, trigger):
        return text
    return f"{trigger}, {text}" if text else trigger
