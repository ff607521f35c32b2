"""Named endpoints around bases, for scripts: the list, what is settled for a base, and merging styles into one."""

from __future__ import annotations

from typing import Any

import gradio as gr

from app.library.cards import base_facts
from app.signatures import typed
from app.studio import Studio
from app.window.server.answers import answering
from app.window.server.api_mix import MixArguments
from app.window.server.named_paths import asks_here, base_named, base_to_add, not_to_change, vae_named
from styles.bases.base_settings import UNSET, BaseSettings
from styles.errors import BadInput
from styles.text import Text


def add_base_endpoints(studio: Studio) -> None:
    """Add the endpoints to the Blocks that are being built. Paths are whole paths on this machine; see `named_paths`."""
    answered = answering(studio, "answering a script")
    shelf = studio.shelf

    @answered
    @typed
    def bases_list() -> list[dict[str, Any]]:
        """All bases that are here, and those that can be fetched."""
        return [base_facts(entry) for entry in shelf.list()]

    @answered
    @typed
    def bases_add(
        source: str,
        name: str = "",
        prediction_type: str = "",
        zero_terminal_snr: bool | None = None,
        vae: str = "",
    ) -> dict[str, Any]:
        """Add a base by its path on this machine, or fetch it from the Hub, which accepts its licence."""
        settings = BaseSettings(prediction_type or None, zero_terminal_snr, vae_named(vae))
        return base_facts(shelf.add(base_to_add(source), name=name, settings=settings))

    @answered
    @typed
    def bases_use(name: str, quantize: str = "") -> dict[str, Any]:
        """Make a base the one in use; with `quantize` it is kept so from now on: "nf4", "qa4-32", "none"."""
        if quantize:
            shelf.keep_as(name, quantize)
        return base_facts(shelf.use(name))

    @answered
    @typed
    def bases_change(
        name: str,
        prediction_type: str = "",
        zero_terminal_snr: bool | None = None,
        vae: str = "",
        quantize: str = "",
    ) -> dict[str, Any]:
        """Settle anew what a base predicts and which VAE it has; with `quantize` alone, how it is kept and nothing else."""
        settings = BaseSettings(prediction_type or None, zero_terminal_snr, vae_named(vae))
        settles = not quantize or settings != UNSET
        if settles and not asks_here():
            raise not_to_change()
        if quantize:
            entry = shelf.keep_as(name, quantize)
        if settles:
            entry = shelf.change(name, settings)
        return base_facts(entry)

    @answered
    @typed
    def bases_merge(
        base: str, weights: dict[str, float | None], name: str, agreed: bool = False
    ) -> dict[str, Any]:
        """Merge styles, {style name: weight}, into a base in four bits, exactly: a base of its own, without sliders for them.

        `agreed` merges them though a licence forbids to share the result.
        """
        order = MixArguments().order(studio, weights)
        forbidden = studio.mix_tools.forbidden(order)
        if forbidden and not agreed:
            raise BadInput(
                Text.joined(" ", forbidden),
                "Call it with agreed=True to merge it all the same, for yourself.",
            )
        done = studio.mix_tools.merge(order, base_named(studio, base), name)
        return base_facts(done.entry) | {"notes": [*done.entry.notes, *done.notes]}

    @answered
    @typed
    def bases_remove(name: str) -> str:
        """Take a base off the list, a fetched or merged one to the trash; its name."""
        shelf.remove(name)
        return name

    gr.api(bases_merge, api_name="bases_merge", concurrency_id="gpu", concurrency_limit=1)
    for quick in (bases_list, bases_add, bases_use, bases_change, bases_remove):
        gr.api(quick, api_name=quick.__name__)
