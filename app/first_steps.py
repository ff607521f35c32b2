"""The tour of the first start: what there is to do, and what of it is done, from what lies in the home."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from app.bundled import bundled_hands
from app.i18n import say
from app.train.form import form_of

if TYPE_CHECKING:
    from app.studio import Studio


@dataclass(frozen=True)
class Step:
    """One step of the tour, in the artist's language."""

    title: str
    words: str
    done: bool


def steps(studio: Studio) -> list[Step]:
    """The three steps as they stand now."""
    trainings = studio.jobs()
    trained = any(card.state == "finished" and not card.progress.nothing_learnt for card in trainings)
    painted = bool(studio.recent_pictures(1))
    return [
        Step(
            say("Lay out artworks"),
            say("Some pictures in one hand come along, for trying. Or drop your own into the Train room."),
            bool(studio.preparation.draft.paths()) or bool(trainings),
        ),
        Step(
            say("Train the style"),
            say("Choose “Quick” and press “Start training”. Previews show how it learns."),
            trained,
        ),
        Step(
            say("Paint in your style"),
            say("In the Create room, say what to paint, press “Create”, and move the style's slider."),
            trained and painted,
        ),
    ]


def steps_depend_on(studio: Studio) -> object:
    """What changes whenever the steps may; cheap, so that it can be asked for each second."""
    painted = bool(studio.recent_pictures(1))
    return studio.preparation.draft.version, studio.trainings.running_id, studio.trainings.newest(), painted


def lay_out_bundled(studio: Studio) -> None:
    """Put the artworks that come along into the draft of a quick training; what is there already stays.

    Raises BadInput where they are missing.
    """
    folder = bundled_hands()[0]
    for _ in studio.preparation.add([path for path in sorted(folder.iterdir()) if path.is_file()]):
        pass
    form = form_of(studio.preparation.draft.form())
    if not form["name"]:
        form |= {"name": say("My first style"), "preset": "quick"}
    studio.preparation.draft.remember(form)


def steps_drawn(now: list[Step]) -> str:
    """The steps as HTML, a tick on each that is done; one line once there is nothing left to do."""
    if all(step.done for step in now):
        words = say("You have trained a style of your own and painted with it. That is all there is to know.")
        return f'<p class="all-done">{escape(words)}</p>'
    rows = []
    for number, step in enumerate(now, start=1):
        mark = f'<span class="mark" aria-label="{escape(say("done"))}">✓</span>' if step.done else str(number)
        kind = ' class="done"' if step.done else ""
        rows.append(
            f'<li{kind}><span class="number">{mark}</span><div><strong>{escape(step.title)}</strong>'
            f"<p>{escape(step.words)}</p></div></li>"
        )
    return f'<ol class="steps">{"".join(rows)}</ol>'
