"""The painter of the Create room: one thing at a time, the latest wish first, and anyone may look on.

A page asks and returns at once; whoever wants to see how it comes along looks at the canvas. So a reload, a second tab
and a page that was away see the same picture.
"""

from __future__ import annotations

import base64
import io
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from app.create.painting import Notice, Painting, PaintingEvent, SheetSaved
from app.create.rendering import Rendering
from app.i18n import say, say_error, translated
from app.log import surprise_message
from app.orders import PictureOrder
from app.studio import Studio
from styles.errors import AtelierError, Cancelled, JobError, OutOfMemory, TooLarge

DRAFT_STEPS = 6
LONGEST_DRAFT_SECONDS = 20.0  # a base on which it takes longer is not one to watch while a slider moves
ASKED, DRAFT, LIVE = "asked", "draft", "live"  # by the artist; while a slider moves; when it is let go


@dataclass(frozen=True)
class CanvasPicture:
    """A finished picture: its file, or for a draft, which has none, its PNG."""

    path: str
    seed: int
    data: bytes = b""


@dataclass(frozen=True)
class Canvas:
    """What is being painted, or was last."""

    number: int = 0  # of the painting, counted up
    kind: str = ""  # ASKED, DRAFT, LIVE
    # Then preparing, painting, maybe stopping, and one of: done, stopped, failed, resting.
    state: str = "blank"
    at: Painting | None = None
    pictures: tuple[CanvasPicture, ...] = ()
    sheet: SheetSaved | None = None
    notices: tuple[str, ...] = ()
    problem: str = ""
    page: str = ""  # that the problem is told; empty: every page
    passing: bool = False  # the problem is over once this painting has ended
    # Of a problem that is a size to be agreed to: width and height in px of the largest that suits the base.
    large: tuple[int, ...] = ()
    crowded: bool = False  # a training fills the memory: it could be paused

    @property
    def going(self) -> bool:
        """Something is being painted, and nobody has stopped it."""
        return self.state in ("preparing", "painting")

    def after(self, event: PaintingEvent) -> Canvas:
        """The canvas once `event` has happened."""
        match event:
            case Notice():
                return replace(self, notices=(*self.notices, event.text))
            case Painting():
                return replace(self, state="painting" if self.going else self.state, at=event)
            case SheetSaved():
                return replace(self, sheet=event)
        if self.kind != DRAFT:
            return replace(self, pictures=(*self.pictures, CanvasPicture(str(event.path), event.seed)))
        data = event.path.read_bytes()
        event.path.unlink()
        return replace(self, pictures=(CanvasPicture("", event.seed, data),))

    def to_json(self, page: str = "") -> dict[str, Any]:
        """What a page shows, as plain JSON values; pictures that have no file come along as data.

        What went wrong is told to the page that asked for it: another one, which sees what is painted, did nothing.
        """
        at = self.at if self.going else None
        told = not self.page or page == self.page
        return {
            "number": self.number,
            "kind": self.kind,
            "state": self.state if told or self.state != "failed" else "blank",
            "step": at.step if at else 0,
            "steps": at.steps if at else 0,
            "share": at.share if at else 0.0,
            "previews": [_png(preview) for preview in at.previews()] if at else [],
            "pictures": [
                {"path": one.path, "seed": str(one.seed), "data": _data(one.data) if one.data else ""}
                for one in self.pictures
            ],
            "labels": [translated(label) for label in self.sheet.labels] if self.sheet else [],
            "columns": self.sheet.columns if self.sheet else 0,
            "notices": [translated(notice) for notice in self.notices],
            "problem": self.problem if told else "",
            "large": bool(self.large) and told,
            "crowded": self.crowded and told,
        }


class Painter:
    """Paints what it is asked for in a thread; drafts lie in a folder that nobody else sees."""

    def __init__(self, studio: Studio, longest_draft_seconds: float = LONGEST_DRAFT_SECONDS) -> None:
        self.studio = studio
        self.longest_draft_seconds = longest_draft_seconds
        self._changed = threading.Condition()
        self._turn = threading.Lock()
        self._canvas = Canvas()
        self._serial = 0  # of what can be seen
        self._rendering: Rendering | None = None
        self._stopped = False
        self._next: tuple[PictureOrder, str, str] | None = None
        self._failed: PictureOrder | None = None  # what could not be painted last
        self._step_seconds = 0.0

    def ask(
        self, order: PictureOrder, kind: str = ASKED, *, pause_training: bool = False, page: str = ""
    ) -> Canvas:
        """Begin to paint for a page, and return at once.

        What a slider asked for is given up for whatever comes next; what the artist asked for is finished first.
        Raises JobError where that is already being painted and more is asked for.
        """
        with self._changed:
            before = self._canvas
            if before.going and before.kind == ASKED:
                if kind == ASKED:
                    raise JobError("Another picture is being painted.", "Wait until it is done, or stop it.")
                self._next = (order, kind, page)
                return before
            self._stop()
            canvas = Canvas(before.number + 1, kind, "preparing", page=page)
            if kind != ASKED and self._rests_now():
                return self._show(replace(canvas, state="resting", notices=(self._rests(),)))
            self._next, self._stopped = None, False
            threading.Thread(
                target=self._paint, args=(canvas.number, order, pause_training), name="painter", daemon=True
            ).start()
            return self._show(canvas)

    def ask_again(
        self, *, agreed: bool = False, sensible: bool = False, pause_training: bool = False, page: str = ""
    ) -> PictureOrder:
        """Ask for what failed last, as it was: agreed to, at the largest size that suits the base, or the training paused."""
        with self._changed:
            order, large = self._failed, self._canvas.large
        if order is None or (sensible and not large):
            raise JobError("There is nothing to paint again.", "Press Create.")
        order = replace(order, agreed=agreed or order.agreed)
        if sensible:
            width_px, height_px = large
            size = replace(order.settings, width_px=width_px, height_px=height_px)
            order = replace(order, settings=size, passes=order.passes.first)
        self.ask(order, pause_training=pause_training, page=page)
        return order

    @contextmanager
    def telling(self, page: str = "") -> Iterator[None]:
        """Say on the canvas of a page why something can't be painted, where the wish itself can't be read."""
        try:
            yield
        except Exception as error:
            with self._changed:
                if not self._canvas.going:
                    number = self._canvas.number + 1
                    self._show(Canvas(number, ASKED, "failed", page=page, **self._told(error, paused=True)))
                else:
                    problem, passing = self._told(error, paused=True)["problem"], isinstance(error, JobError)
                    self._show(replace(self._canvas, problem=problem, page=page, passing=passing))

    def stop(self) -> None:
        """Stop at the next block of the model; what is finished stays, and the next picture can be asked for."""
        with self._changed:
            self._next = None
            self._stop()
            if self._canvas.going:
                self._show(replace(self._canvas, state="stopping"))

    def look(self, seen: int, patience_seconds: float = 0.0) -> tuple[int, Canvas]:
        """The canvas with its serial number, as soon as that is another than `seen`, or patience ends."""
        with self._changed:
            self._changed.wait_for(lambda: self._serial != seen, patience_seconds)
            return self._serial, self._canvas

    def serial(self) -> int:
        """The serial number of the canvas as it is now."""
        return self._serial

    # Called with the lock held

    def _show(self, canvas: Canvas) -> Canvas:
        self._canvas = canvas
        self._serial += 1
        self._changed.notify_all()
        return canvas

    def _stop(self) -> None:
        self._stopped = True
        if self._rendering is not None:
            self._rendering.stop()

    def _rests_now(self) -> bool:
        return self._step_seconds * DRAFT_STEPS > self.longest_draft_seconds

    def _rests(self) -> str:
        seconds = max(1, round(self._step_seconds * DRAFT_STEPS))
        return say(
            "A draft would take about {seconds} s on this base, so moving a slider paints none. Press Create.",
            seconds=seconds,
        )

    # In the painter's thread

    def _paint(self, number: int, order: PictureOrder, pause_training: bool) -> None:
        with self._turn, ExitStack() as stack:
            if not self._is_wanted(number):
                return
            try:
                folder = None
                if self._canvas.kind == DRAFT:
                    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="atelier-draft-")))
                wish = order if folder is None else draft_of(order)
                rendering = self.studio.render(wish, folder, pause_training=pause_training)
                with self._changed:
                    self._rendering = rendering
                    if self._stopped or self._canvas.number != number:
                        rendering.stop()
                alone = wish.settings.count == 1 and not wish.sheet and wish.passes == wish.passes.first
                self._follow(number, rendering, measuring=alone)  # as large as a draft
                self._end(number, state="done")
            except Cancelled:
                self._end(number, state="stopped")
            except Exception as error:
                self._failed = order
                self._end(number, state="failed", **self._told(error, pause_training))
        self._go_on()

    def _follow(self, number: int, rendering: Rendering, measuring: bool) -> None:
        since = 0.0  # the end of a step; what comes before the first is no measure
        for event in rendering.events():
            now = time.monotonic() if isinstance(event, Painting) else 0.0
            if since and now and measuring:
                self._step_seconds = now - since
            since = now
            with self._changed:
                if self._canvas.number == number:
                    self._show(self._canvas.after(event))

    def _is_wanted(self, number: int) -> bool:
        with self._changed:
            if self._stopped:
                self._end(number, state="stopped")
            return not self._stopped and self._canvas.number == number

    def _end(self, number: int, **changes: Any) -> None:
        with self._changed:
            self._rendering = None
            if self._canvas.number == number:
                over: dict[str, Any] = {"problem": "", "passing": False} if self._canvas.passing else {}
                self._show(replace(self._canvas, at=None, **over | changes))

    def _go_on(self) -> None:
        """Paint what a slider asked for meanwhile; a reason why not, or a notice of rest, must not take its place."""
        with self._changed:
            waiting, self._next = self._next, None
            resting = self._canvas.kind == ASKED and self._rests_now()
            if self._canvas.state == "failed" or resting:
                return
        if waiting is not None:
            order, kind, page = waiting
            self.ask(order, kind, page=page)

    def _told(self, error: Exception, paused: bool) -> dict[str, Any]:
        if not isinstance(error, AtelierError):
            return {"problem": translated(surprise_message(self.studio.home, error, "painting"))}
        crowded = isinstance(error, OutOfMemory) and not paused
        return {
            "problem": say_error(error),
            "large": (error.width_px, error.height_px) if isinstance(error, TooLarge) else (),
            "crowded": crowded and self.studio.trainings.running() is not None,
        }


def draft_of(order: PictureOrder) -> PictureOrder:
    """One picture of few steps, at no size that would have to be asked about."""
    quick = replace(order.settings, steps=min(DRAFT_STEPS, order.settings.steps or DRAFT_STEPS), count=1)
    return replace(order, settings=quick, passes=order.passes.first, bearable=True)


def _png(image: Any) -> str:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return _data(buffer.getvalue())


def _data(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")
