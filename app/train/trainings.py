"""Trainings: made from an order, started, followed, paused, stopped and resumed."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from app.orders import TrainingOrder
from app.train.progress import Progress, words_for_seconds
from app.train.runner import OUTPUT_NAME, Runner
from styles.errors import AtelierError, BadInput, JobError, WrongFamilyError
from styles.families import family_of
from styles.quantization.quantization import PLAIN, QUANTIZATIONS, check_usable
from styles.storage.file_reading import changed_ns
from styles.storage.home import Home, expanded
from styles.storage.names import clean_text, safe_name
from styles.text import Text, quoted
from training.adapters import check_continued, check_ranks, highest_rank
from training.artworks.collecting import collect
from training.artworks.dataset import KnownPicture
from training.checkpoint import strays
from training.events import Failed, Finished
from training.job import HELD_BY_ANOTHER, LONGEST_FILE_NAME, Job, State, jobs_in
from training.plan import TrainingPlan, plan_for
from training.result import keep

if TYPE_CHECKING:
    from styles.formats.style import Style

LOOK_EVERY_SECONDS = 0.2
STATE_WORDS: dict[State, str] = {
    "waiting": Text("waiting"),
    "running": Text("training"),
    "paused": Text("paused"),
    "finished": Text("finished"),
    "failed": Text("failed"),
    "interrupted": Text("interrupted"),
    "damaged": Text("damaged"),
}


@dataclass(frozen=True)
class JobCard:
    """One training in the list of all."""

    id: str  # the name of its folder
    name: str  # of the style
    state: State
    progress: Progress
    notes: tuple[Text, ...] = ()  # what else lies in its folder that ought not to

    @property
    def resumable(self) -> bool:
        return can_resume(self.state, self.progress)

    @property
    def words(self) -> Text:
        """How it stands, on one line."""
        far = f"{self.progress.share:.0%}" if self.progress.steps and self.state != "finished" else ""
        left = self.progress.seconds_left
        soon = (
            Text("about {time} left", time=words_for_seconds(left))
            if self.state == "running" and left is not None
            else ""
        )
        state = Text("stopped before it began") if self.progress.nothing_learnt else STATE_WORDS[self.state]
        damage = self.progress.failed if self.state == "damaged" else None
        said = Text.joined(" ", filter(None, [damage.message, damage.hint])) if damage else Text("")
        return Text.joined(" · ", filter(None, (self.name, state, far, soon, said, *self.notes)))

    def facts(self) -> dict[str, Any]:
        """The same as plain JSON values."""
        finished, failed = self.progress.finished, self.progress.failed
        return {
            "id": self.id,
            "name": self.name,
            "state": self.state,
            "step": self.progress.step,
            "steps": self.progress.steps,
            "seconds_left": self.progress.seconds_left,
            "style": (finished.style_path or None) if finished else None,
            "error": failed.message if failed and self.state in ("failed", "damaged") else None,
            "hint": failed.hint if failed and self.state in ("failed", "damaged") else None,
            "notes": list(self.notes),
        }


def with_quantization(quantize: str, numbers: Mapping[str, Any]) -> dict[str, Any]:
    """Chosen numbers of a plan, completed by how its base is kept; one that is kept as it is leaves that to what fits.

    Raises SettingsError for four bits that can't be had here.
    """
    given = ({} if quantize == PLAIN else {"quantize": quantize}) | dict(numbers)
    check_usable(given.get("quantize"))
    return given


class Trainings:
    """All job folders of one home, and the trainers that work on them."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.runner = Runner()

    def prepare(
        self,
        order: TrainingOrder,
        base: Callable[[], tuple[str, str, str]],
        begun: Style | None = None,
        known: Mapping[Path, KnownPicture] = MappingProxyType({}),
    ) -> Job:
        """Write the job folder of `order`; for `base` and `begun` see `plan`. Pictures in `known` are not opened once more.

        Raises BadInput, JobError.
        """
        plan = self.plan(order, base, begun)
        # The job is given these as they are: a broken picture is refused when it was named, left out of a folder.
        artworks = [expanded(path).absolute() for path in order.pictures]
        return Job.create(self.home.jobs, plan, artworks, known, order.caption_ending)

    def plan(
        self, order: TrainingOrder, base: Callable[[], tuple[str, str, str]], begun: Style | None = None
    ) -> TrainingPlan:
        """Make the plan of an order; `base` names the base, its family and how it is kept, once the cheaper checks are done.

        `begun` is the style to go on from: it lends what the order leaves open. Raises BadInput.
        """
        name = safe_name(order.name)
        artworks = [expanded(path).absolute() for path in order.pictures]
        count = len(collect(artworks, order.caption_ending).pictures)
        source, family, quantize = base()
        given = with_quantization(quantize, order.settings.chosen())
        words = {"trigger": order.trigger.strip(), "author": order.author, "licence": order.licence}
        words["rights"] = order.rights
        if begun is not None:
            if not begun.card.may_fit(family):
                raise WrongFamilyError(
                    "“{style}” is a {family}; the base is {base_family}.",
                    "Go on from it on the base that it is for.",
                    style=begun.name,
                    family=begun.card.made_for,
                    base_family=family_of(family).name,
                )
            check_ranks(begun)
            own = {"rank": rank} if (rank := highest_rank(begun)) else {}
            given = own | {"layers": layers_of(begun)} | groups_of(begun) | given
            given["continue_from"] = begun.id
            words = {key: word or getattr(begun.card, key) for key, word in words.items()}
        words["trigger"] = words["trigger"] or suggested_trigger(name)
        plan = plan_for(order.preset, family, count, name=name, base=source, **words, **given)
        if begun is not None:
            check_continued(begun, plan)
        return plan

    def start(self, job: Job, device: str, precision: str) -> None:
        """Start a trainer on a job that waits or has been paused."""
        job.request("resume")
        self.runner.start(job.folder, device, precision)

    def refuse_second(self) -> None:
        """Raise JobError while another training runs: two at once would each take more than twice as long."""
        running = self.running()
        if running is not None:
            raise JobError(
                "“{training}” is still training.",
                "Wait until it is done, or pause or stop it first.",
                training=running.name,
            )

    def resumable(self, job_id: str) -> Job:
        """The job of that id, if a trainer can go on with it; raises BadInput, JobError."""
        job = self.job(job_id)
        state = self.state(job)
        if state == "running":
            raise JobError("“{training}” is training already.", training=job.name)
        if not can_resume(state, self.card(job).progress):
            raise JobError("“{training}” is finished.", "Its style is in the library.", training=job.name)
        self.refuse_second()
        return job

    def newest(self) -> str:
        """The id of the job that was made last; empty where there is none."""
        jobs = jobs_in(self.home.jobs)
        return jobs[-1].folder.name if jobs else ""

    def keep(self, job_id: str, step: int) -> Finished:
        """Make the style of a finished training anew from one of its checkpoints; raises BadInput, JobError."""
        return keep(self.job(job_id), step)

    def job(self, job_id: str) -> Job:
        """The job whose folder has this name, or the only one whose name contains it; raises BadInput."""
        jobs = jobs_in(self.home.jobs)
        matches = [job for job in jobs if job.folder.name == job_id]
        matches = matches or [
            job for job in jobs if job_id and job_id.casefold() in job.folder.name.casefold()
        ]
        if len(matches) != 1:
            raise BadInput(
                "There are {count} trainings “{job_id}”." if matches else "There is no training “{job_id}”.",
                "`launch.py jobs list` shows them all.",
                count=len(matches),
                job_id=job_id,
            )
        return matches[0]

    def state(self, job: Job) -> State:
        """How a job stands, also in the moment between starting its trainer and the trainer's taking hold."""
        if self.runner.starting(job.folder):
            return "running"
        state = job.state()
        # A trainer that died before its first event left nothing in the journal to tell it by.
        died = self.runner.exit_code(job.folder) not in (None, 0, HELD_BY_ANOTHER)
        return "interrupted" if died and state in ("waiting", "paused") else state

    def running(self) -> Job | None:
        """The job that is training now, if any."""
        jobs = reversed(jobs_in(self.home.jobs))
        return next((job for job in jobs if self.runner.starting(job.folder) or job.alive()), None)

    @property
    def running_id(self) -> str:
        """The id of the training that runs now; empty where none does."""
        job = self.running()
        return job.folder.name if job else ""

    def version(self) -> object:
        """What changes with anything that can be seen of the trainings; cheap, so that it can be asked for each second."""
        return [self.running_id, *map(_written, jobs_in(self.home.jobs))]

    def cards(self) -> list[JobCard]:
        """All trainings, newest first; a job folder that can't be read is among them, with the reason."""
        return [self.card(job) for job in reversed(jobs_in(self.home.jobs))]

    def card(self, job: Job) -> JobCard:
        """What the list shows of one job."""
        if damage := job.damage():
            return JobCard(job.folder.name, job.name, self.state(job), _damaged(damage))
        progress = Progress()
        for event in job.events():
            progress = progress.after(event)
        return JobCard(job.folder.name, job.name, self.state(job), progress, notes_on(job))

    def look(self, job: Job, progress: Progress, offset: int) -> tuple[Progress, int, State]:
        """Take `progress`, read up to byte `offset` of the journal, as far as it goes now; with the job's state."""
        # Asked before reading, so that no event is missed.
        alive = self.runner.starting(job.folder) or job.alive()
        if damage := job.damage():
            return _damaged(damage), offset, self.state(job)
        events, offset = job.events_since(offset)
        for event in events:
            progress = progress.after(event)
        if alive:
            return progress, offset, "running"
        state = self.state(job)
        return (self._interrupted(job, progress) if state == "interrupted" else progress), offset, state

    def follow(self, job: Job) -> Iterator[Progress]:
        """Yield the progress of a job whenever there is more of it, until its trainer has ended."""
        progress, offset, seen = Progress(), 0, -1
        while True:
            progress, offset, state = self.look(job, progress, offset)
            if offset != seen or state != "running":
                seen = offset
                yield progress
            if state != "running":
                return
            time.sleep(LOOK_EVERY_SECONDS)

    def _interrupted(self, job: Job, progress: Progress) -> Progress:
        """What there is to say of a trainer that has gone without a last word."""
        code = self.runner.exit_code(job.folder)
        how = (
            Text("The trainer ended without a word (exit code {code}).", code=code)
            if code
            else Text("The training was interrupted.")
        )
        failed = Failed(
            how, Text("Resume it: it goes on from its last checkpoint."), str(job.folder / OUTPUT_NAME)
        )
        return replace(progress, phase=Text("Interrupted"), failed=failed, seconds_left=None)


def notes_on(job: Job) -> tuple[Text, ...]:
    """What to say of things in a job's folder that no training put there."""
    odd = strays(job.folder / "checkpoints")
    names = Text.joined(", ", (quoted(clean_text(path.name, LONGEST_FILE_NAME)) for path in odd[:5]))
    return (
        (Text("Among the checkpoints lies {names}, which is none of them: move it away.", names=names),)
        if odd
        else ()
    )


def _damaged(damage: AtelierError) -> Progress:
    return Progress(phase=Text("Damaged"), failed=Failed(damage.message, damage.hint))


def _written(job: Job) -> tuple[str, int, int]:
    """A job with what changes as its journal grows and as something is asked of its trainer."""
    return job.folder.name, changed_ns(job.journal), changed_ns(job.folder / "requests")


def can_resume(state: State, progress: Progress) -> bool:
    """Say whether a trainer can go on with a job; also with one that was stopped before it had learnt anything."""
    return state in ("waiting", "paused", "failed", "interrupted") or (
        state == "finished" and progress.nothing_learnt
    )


def layers_of(style: Style) -> str:
    """What a plan calls the layers of a style: the fewest that hold them, "cross" where they are of cross-attention."""
    paths = [layer.path for layer in style.layers if layer.network == "unet"]
    if any(".attn" not in path for path in paths):
        return "transformer"
    return "cross+self" if any(".attn1." in path for path in paths) else "cross"


def groups_of(style: Style) -> dict[str, str]:
    """How a base is kept to go on with a style that was trained over groups, so that it can still be merged."""
    from styles.quantization.column_groups import style_repeats

    quantization = QUANTIZATIONS.get(str(style.card.training.get("quantize")))
    if quantization is None or not quantization.is_grouped or not style_repeats(style, quantization.group):
        return {}
    return {"quantize": quantization.name}


def suggested_trigger(name: str) -> str:
    """The trigger word for a style of this name: its letters and digits as one word."""
    return re.sub(r"[\W_]+", "", name.casefold()) or "mystyle"
