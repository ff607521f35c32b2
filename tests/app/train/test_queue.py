"""Trainings that wait for their turn, and what the ones before them do to that."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from app.orders import TrainingOrder
from app.train.queue import TrainingQueue
from app.train.trainings import Trainings
from styles.errors import JobError
from styles.storage.home import Home
from training.events import Failed, Finished, Paused
from training.job import Job
from training.settings import TrainingSettings


class Table:
    """A home with jobs, their queue, and the starts that the queue asked for."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder / "home").create()
        self.trainings = Trainings(self.home)
        self.picture = folder / "one.png"
        Image.new("RGB", (80, 80), "teal").save(self.picture)
        self.started: list[str] = []
        self.queue = self.again()

    def again(self) -> TrainingQueue:
        """The queue as another start of the window finds it."""
        return TrainingQueue(self.home, self.trainings, lambda job: self.started.append(job.name))

    def job(self, name: str) -> Job:
        order = TrainingOrder(name=name, pictures=(self.picture,), settings=TrainingSettings(steps=1))
        return self.trainings.prepare(order, lambda: ("nowhere", "starter", "none"))

    def names(self) -> list[str]:
        return [job.name for job in self.again().waiting()]


@pytest.fixture
def table(tmp_path: Path) -> Table:
    """Three jobs in the queue: one, two, three."""
    table = Table(tmp_path)
    for name in ("one", "two", "three"):
        table.queue.add(table.job(name))
    return table


@contextmanager
def training(job: Job) -> Iterator[None]:
    """Hold a job's lock as its trainer does."""
    ready, leave = threading.Event(), threading.Event()

    def work() -> None:
        with job.held():
            ready.set()
            leave.wait(300)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert ready.wait(300)
        yield
    finally:
        leave.set()
        thread.join(300)


def test_the_order_can_be_changed_and_outlives_the_window(table: Table) -> None:
    first, _, third = (job.folder.name for job in table.queue.waiting())
    table.queue.move(third, -2)
    table.queue.move(first, 1)
    assert table.names() == ["three", "two", "one"]
    table.queue.move(first, 9)
    table.queue.move("no such job", 1)
    table.queue.remove(third)
    assert table.names() == ["two", "one"]
    assert {card.name for card in table.trainings.cards()} == {"one", "two", "three"}, "no job is lost"


@pytest.mark.parametrize("end", [Finished(1, "a", "b", "busy", 1.0), Failed("Too little memory.", "")])
def test_the_next_one_starts_when_the_one_before_has_ended(table: Table, end: Finished | Failed) -> None:
    busy = table.job("busy")
    with training(busy):
        assert table.queue.move_on() is None
    busy.append(end)
    assert table.again().move_on() is not None and table.started == ["one"]
    assert table.names() == ["two", "three"]


def test_a_queue_that_is_held_waits_until_it_is_released(table: Table) -> None:
    table.job("busy").append(Paused(3))
    table.queue.hold()
    assert table.again().held and table.again().move_on() is None
    with table.queue.kept_back():
        table.queue.release()
        assert table.queue.move_on() is None, "a picture is being painted in a pause"
    assert table.queue.move_on() is not None


def test_what_was_deleted_or_begun_meanwhile_is_passed_over(table: Table) -> None:
    gone, begun, _ = table.queue.waiting()
    (gone.folder / "plan.json").unlink()
    begun.append(Paused(3))
    for _ in range(3):
        table.queue.move_on()
    assert table.started == ["three"] and table.names() == []


def test_a_start_that_fails_is_told_and_the_next_one_has_its_turn(table: Table) -> None:
    def refuse(job: Job) -> None:
        raise JobError("The trainer could not be started.", "Try again.")

    first = TrainingQueue(table.home, table.trainings, refuse).move_on()
    assert first is not None and table.trainings.card(first).state == "failed"
    table.queue.move_on()
    assert table.started == ["two"]


def test_it_moves_by_itself_while_it_is_watched(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.train.queue.LOOK_EVERY_SECONDS", 0.01)
    done = threading.Event()
    queue = TrainingQueue(table.home, table.trainings, lambda job: done.set())
    queue.watch()
    assert done.wait(300)
    queue.close()
