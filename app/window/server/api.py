"""Named endpoints with explicit arguments, for scripts on this machine (gradio_client)."""

from __future__ import annotations

from typing import Any

import gradio as gr

from app.i18n import say
from app.library.cards import card_facts, export_facts, mark_facts, verified_facts
from app.library.missing_base import families_here, with_missing_base
from app.orders import TrainingOrder
from app.signatures import spread, typed
from app.studio import Studio
from app.window.server.answers import answering
from app.window.server.api_bases import add_base_endpoints
from app.window.server.api_mix import MixArguments, add_mix_endpoints, painted, picture_order
from app.window.server.named_paths import base_named, file_named, folder_named
from styles.generation.settings import PassSettings, PictureSettings
from styles.library.export import ExportOrder
from styles.library.verify import verify
from training.settings import TrainingSettings


def add_endpoints(studio: Studio) -> None:
    """Add the endpoints to the Blocks that are being built. Paths are whole paths on this machine; see `named_paths`."""
    answered = answering(studio, "answering a script")

    @answered
    @spread
    @typed
    def create(
        prompt: str,
        weights: dict[str, float | None] | None = None,
        *,
        settings: PictureSettings,
        mix: MixArguments,
        image: str = "",
        passes: PassSettings,
        agreed: bool = False,
    ) -> dict[str, Any]:
        """Paint pictures with a blend, given as {style name: weight}; their paths and seeds.

        A schedule is a list of [share of the steps, weight]; `blend` is the name of a saved blend to begin with.
        `agreed` paints a size far beyond the base's, however long it takes.
        """
        order = picture_order(
            studio, prompt, weights, settings=settings, mix=mix, image=image, passes=passes, agreed=agreed
        )
        return painted(studio, order)

    @answered
    @spread
    @typed
    def train(
        name: str,
        pictures: list[str],
        preset: str = "balanced",
        base: str = "",
        trigger: str = "",
        *,
        settings: TrainingSettings,
        author: str = "",
        licence: str = "",
        continue_from: str = "",
        rights: str = "",
    ) -> dict[str, Any]:
        """Start a training from pictures or folders on this machine; the job, which runs on by itself."""
        order = TrainingOrder(
            name=name, pictures=tuple(map(file_named, pictures)), preset=preset, base=base_named(studio, base),
            trigger=trigger, settings=settings,
            author=author, licence=licence, continue_from=continue_from, rights=rights,
        )  # fmt: skip
        return studio.trainings.card(studio.start_training(order)).facts()

    @answered
    @typed
    def jobs() -> list[dict[str, Any]]:
        """All trainings, newest first."""
        return [card.facts() for card in studio.jobs()]

    @answered
    @typed
    def job_request(job: str, request: str) -> dict[str, Any]:
        """Ask a training to "pause", to "stop" and keep its style, or to "resume"."""
        actions = {
            "pause": studio.pause_training,
            "stop": studio.stop_training,
            "resume": studio.resume_training,
        }
        if request not in actions:
            words = say("There is no request {request!r}: pause, stop or resume.", request=request)
            raise gr.Error(words, print_exception=False)
        actions[request](job)
        return studio.trainings.card(studio.trainings.job(job)).facts()

    @answered
    @typed
    def styles(words: str = "") -> list[dict[str, Any]]:
        """The cards of all styles in the library, or of those that have all these words; see `styles search`."""
        return [card_facts(card) for card in studio.library.search(words)]

    @answered
    @typed
    def style(name: str) -> dict[str, Any]:
        """All that is known about one style."""
        card = studio.library.find(name)
        return card_facts(card) | mark_facts(studio.library.marks().get(card.id))

    @answered
    @typed
    def import_style(path: str) -> dict[str, Any]:
        """Bring a style file or a folder of them into the library."""
        report = studio.library.import_files([file_named(path)])
        refused = [{"file": str(one.file), "reason": one.reason} for one in report.refused]
        families = families_here(studio.shelf.list())
        cards = [with_missing_base(card, families) for card in report.styles]
        return {"styles": [card_facts(card) for card in cards], "refused": refused}

    @answered
    @typed
    def export_style(name: str, folder: str, form: str = "file", side_files: bool = False) -> dict[str, Any]:
        """Write a style for others into a folder on this machine: its paths, where it opens, what others will see."""
        order = ExportOrder(form, side_files)
        return export_facts(studio.library.export(name, folder_named(folder), order))

    @answered
    @typed
    def edit_style(name: str, changes: dict[str, Any]) -> dict[str, Any]:
        """Change what a style's file says of it: trigger, author, licence, rights, description, suggested_weight, tags."""
        return card_facts(studio.library.edit(name, **changes))

    @answered
    @typed
    def verify_style(name: str) -> dict[str, Any]:
        """Look at all of a style's file and say what is right and what is wrong."""
        path = studio.library.find(name).path
        assert path is not None
        return verified_facts(verify(path))

    @answered
    @typed
    def delete_style(name: str) -> str:
        """Move a style to the trash; its path there."""
        return str(studio.library.delete(name))

    @answered
    @typed
    def restore_style(name: str) -> dict[str, Any]:
        """Bring a style back from the trash."""
        return card_facts(studio.library.restore(name))

    gr.api(create, api_name="create", concurrency_id="gpu", concurrency_limit=1)
    gr.api(train, api_name="train")
    gr.api(jobs, api_name="jobs", concurrency_limit=None)
    gr.api(job_request, api_name="job_request", concurrency_limit=None)
    gr.api(styles, api_name="styles")
    gr.api(import_style, api_name="import_style")
    gr.api(export_style, api_name="export_style")
    gr.api(style, api_name="style")
    gr.api(edit_style, api_name="edit_style")
    gr.api(verify_style, api_name="verify_style")
    gr.api(delete_style, api_name="delete_style")
    gr.api(restore_style, api_name="restore_style")
    add_mix_endpoints(studio)
    add_base_endpoints(studio)
