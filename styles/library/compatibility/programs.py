"""The programs whose rules are known: where each was read, and the function that tells what it makes of a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from styles.library.compatibility.checks import CompatibilityCheck, File
from styles.library.compatibility.diffusers_rules import diffusers
from styles.library.compatibility.kohya_form_rules import a1111, comfyui, forge, invokeai


@dataclass(frozen=True)
class Source:
    """What a program's rules were read in: the version or commit, and the days of that and of the reading."""

    version: str
    of: str  # ISO date, empty where it is not known
    read: str  # ISO date


SOURCES: Mapping[str, Source] = {
    "A1111": Source("1.10.1", "2025-02-09", "2026-12-01"),
    "Forge": Source("dfdcbab", "2025-06-26", "2026-12-01"),
    "ComfyUI": Source("0.8.1", "", "2026-12-01"),
    "InvokeAI": Source("6.14.0-alpha", "2026-08-19", "2026-12-01"),
    "diffusers": Source("0.42.1", "", "2026-12-01"),
}
TOOLS: Mapping[str, Callable[[File], list[CompatibilityCheck]]] = {
    "A1111": a1111,
    "Forge": forge,
    "ComfyUI": comfyui,
    "InvokeAI": invokeai,
    "diffusers": diffusers,
}
