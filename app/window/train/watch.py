"""What trains, what waits, and what to make of a training that is over."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

import gradio as gr

from app.i18n import say
from app.studio import Studio
from app.train.drawing import film, job_words, no_training, progress_card, queue_list
from app.train.progress import Progress
from app.train.trainings import can_resume, notes_on
from app.window.scripts import call, mount
from app.window.server.answers import answering, in_turn
from app.window.server.news import News, listener
from styles.errors import BadInput
from training.job import Job, State
from training.result import choices


@dataclass(frozen=True)
class Watch:
    """Which training a page shows, and what it has drawn of it."""

    job_id: str = ""
    chosen: bool = False  # by the artist, so that another one's start does not take its place
    offset: int = 0  # of the journal
    progress: Progress = field(default_factory=Progress)
    state: State | Literal[""] = ""
    asked: str | None = None  # a request that the trainer has not followed yet
    newest: str = ""  # the id of the newest training of all
    queue: tuple[tuple[str, ...], bool] = ((), False)  # the ids that wait, and whether they are held
    busy: bool = False  # something trains or waits, so that a new training would wait
    blank: bool = True  # nothing is drawn yet


def watch_section(
    studio: Studio,
    page: gr.Blocks,
    tab: gr.Tab,
    started: gr.State,
    start: gr.Button,
    answer: gr.HTML,
    news: News,
) -> None:
    """Lay out the running training, its previews, the queue and the list of all, and connect them."""
    answered = answering(studio, "training")
    watch = gr.State(Watch())
    with gr.Column(elem_classes="card watch"):
        card = gr.HTML(no_training())
        with gr.Row(elem_classes="row-tight"):
            pause = gr.Button(say("Pause"), size="sm", min_width=110, visible=False)
            stop = gr.Button(say("Stop and keep"), size="sm", min_width=110, visible=False)
            resume = gr.Button(say("Resume"), size="sm", min_width=110, visible=False)
            create = gr.Button(say("Paint with it"), variant="primary", size="sm", visible=False)
        strip = gr.HTML(js_on_load=mount("train/buttons", "asked"))
    queue = gr.HTML(js_on_load=mount("train/buttons", "asked"))
    jobs = gr.Dropdown([], label=say("All trainings"), visible=False, filterable=False)
    made = gr.Textbox(visible=False)  # the id of the style to paint with
    shown = [watch, card, strip, pause, stop, resume, create, made, queue, jobs, start, answer]

    @answered
    def look(seen: Watch) -> list[Any]:
        return _look(studio, seen)

    @answered
    def show_all() -> list[Any]:
        return _look(studio, Watch())

    @answered
    def choose(job_id: str) -> list[Any]:
        return _look(studio, Watch(job_id, chosen=True))

    # What is clicked is meant for the training that the page shows, which the list names: another may run by now.

    @answered
    def request_pause(seen: Watch, job_id: str) -> list[Any]:
        studio.pause_training(job_id)
        return _look(studio, seen)

    @answered
    def request_stop(seen: Watch, job_id: str) -> list[Any]:
        studio.stop_training(job_id)
        return _look(studio, seen)

    @answered
    def go_on(seen: Watch, job_id: str) -> list[Any]:
        studio.resume_training(job_id)
        return _look(studio, Watch(job_id))

    @answered
    def keep(seen: Watch, job_id: str, event: gr.EventData) -> list[Any]:
        studio.trainings.keep(job_id, int(event.step))
        return _look(studio, seen)

    @answered
    def change_queue(seen: Watch, event: gr.EventData) -> list[Any]:
        match event.do:
            case "sooner":
                studio.queue.move(event.job, -1)
            case "later":
                studio.queue.move(event.job, 1)
            case "leave":
                studio.queue.remove(event.job)
            case "release":
                studio.queue.release()
        return _look(studio, seen)

    # Each tells what has changed since the page was told last: in turn, or two would tell of the same and of nothing.
    minimal: dict[str, Any] = {"show_progress": "minimal", "show_progress_on": card}
    asked, clicked, looking = (
        in_turn("watch", mode) | minimal for mode in ("once", "multiple", "always_last")
    )
    news.add("trainings", lambda: (studio.trainings.version(), studio.queue.now))
    quietly = in_turn("watch", "always_last")
    listener("trainings").told(look, watch, shown, **quietly)
    tab.select(show_all, None, shown, **quietly)
    started.change(show_all, None, shown, **quietly)
    jobs.input(choose, jobs, shown, **looking)
    pause.click(request_pause, [watch, jobs], shown, **asked)
    stop.click(request_stop, [watch, jobs], shown, **asked)
    resume.click(go_on, [watch, jobs], shown, **asked)
    create.click(None, made, None, js=call("create/room", "paintWith"))
    strip.asked(keep, [watch, jobs], shown, **clicked)
    queue.asked(change_queue, watch, shown, **clicked)


def _look(studio: Studio, seen: Watch) -> list[Any]:
    """What changed on the page since `seen`; the rest is skipped."""
    job, now = _watched(studio, seen)
    if now == seen:
        return [gr.skip()] * 12
    another = seen.blank or now.job_id != seen.job_id
    turned = (
        another
        or now.state != seen.state
        or now.asked != seen.asked
        or now.progress.ended != seen.progress.ended
    )
    return [
        now,
        _card(job, now) if turned or now.progress != seen.progress else gr.skip(),
        *_strip_and_buttons(job, seen, now, turned),
        queue_list(studio.queue.waiting(), now.queue[1])
        if seen.blank or now.queue != seen.queue
        else gr.skip(),
        _list(studio, now.job_id) if turned or now.newest != seen.newest else gr.skip(),
        _start(now.busy) if seen.blank or now.busy != seen.busy else gr.skip(),
        "" if _answer_is_old(seen, now) else gr.skip(),
    ]


def _answer_is_old(seen: Watch, now: Watch) -> bool:
    """Whether what Start answered, that a training has begun or waits for its turn, is true no more."""
    moved_on = not set(seen.queue[0]) <= set(now.queue[0])
    ended = seen.job_id == now.job_id and now.progress.ended and not seen.progress.ended
    return not seen.blank and (moved_on or ended)


def _watched(studio: Studio, seen: Watch) -> tuple[Job | None, Watch]:
    """The training to show: the one that was chosen, else the running one, else the last one seen, else the newest."""
    trainings, queue = studio.trainings, studio.queue
    running, newest = trainings.running(), trainings.newest()
    job = running
    if running is None or seen.chosen:
        try:
            job = trainings.job(seen.job_id or newest)
        except BadInput:  # its folder is gone, or there was none yet
            job = running
    waiting = tuple(one.folder.name for one in queue.waiting())
    now = Watch(
        newest=newest, queue=(waiting, queue.held), busy=running is not None or bool(waiting), blank=False
    )
    if job is None:
        return None, now
    before = seen if seen.job_id == job.folder.name else Watch()
    progress, offset, state = trainings.look(job, before.progress, before.offset)
    request = job.requested() if state == "running" else None
    return job, replace(
        now,
        job_id=job.folder.name,
        chosen=seen.chosen,
        offset=offset,
        progress=progress,
        state=state,
        asked=request,
    )


def _card(job: Job | None, now: Watch) -> str:
    return no_training() if job is None else progress_card(now.progress, job.name, now.asked, notes_on(job))


def _strip_and_buttons(job: Job | None, seen: Watch, now: Watch, turned: bool) -> list[Any]:
    """The previews, the buttons that do something now (pause, stop, resume, paint), and the style to paint with."""
    # A trainer that has said its last word may take seconds to leave; nothing can be asked of it any more.
    leaving = now.state == "running" and now.progress.ended
    finished = now.progress.finished if now.state == "finished" or leaving else None
    made = finished is not None and bool(finished.style_path)
    strip: Any = gr.skip()
    if turned or finished != seen.progress.finished or now.progress.previews != seen.progress.previews:
        offered = choices(job) if job and made and not leaving else []
        current = finished.step if finished and made else None
        strip = film(job, now.progress.previews, offered, current) if job else ""
    style = finished.style_id if finished and made else ""
    if not turned:
        return [strip, *[gr.skip()] * 4, style if finished != seen.progress.finished else gr.skip()]
    running = now.state == "running" and now.asked is None and not leaving
    stands = bool(now.state) and now.job_id not in now.queue[0]
    resumable = stands and can_resume(now.state or "waiting", now.progress)
    return [strip, *(gr.update(visible=shown) for shown in (running, running, resumable, made)), style]


def _list(studio: Studio, chosen: str) -> Any:
    cards = studio.jobs()
    listed = [(job_words(card), card.id) for card in cards]
    return gr.update(choices=listed, value=chosen or None, visible=len(cards) > 1)


def _start(busy: bool) -> Any:
    return gr.update(value=say("Add to the queue") if busy else say("Start training"))
