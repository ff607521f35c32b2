"""The studio: everything the command line and the window can ask for, in one object. It knows no gradio."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from app.create.base_session import BaseSession, base_facts_of
from app.create.blends import Blends
from app.create.memory import refuse_if_crowded
from app.create.mix_orders import MixOrder
from app.create.mix_tools import MixTools
from app.create.painting import PaintingEvent
from app.create.recipe_styles import blend_again, name_notes, without_missing, words_left_out
from app.create.rendering import Rendering
from app.home_rights import make_private
from app.library.idle import Idle
from app.orders import PictureOrder, TrainingOrder
from app.settings import Settings
from app.train.other_settings import TakenOver, settings_here
from app.train.preparation import TrainingPreparation, sparing
from app.train.progress import Progress
from app.train.queue import TrainingQueue
from app.train.survey import Survey, survey
from app.train.trainings import JobCard, Trainings
from styles.bases.files.weight_files import is_here
from styles.bases.shelf import BaseShelf
from styles.errors import AtelierError, Cancelled, JobError
from styles.formats.style import Style, StyleCard
from styles.generation.img2img import kept_source, source_path
from styles.generation.png_recipe import read_recipe
from styles.generation.recipe import Recipe
from styles.generation.settings import PassSettings, PictureSettings
from styles.library.library import Library
from styles.mixing.blend import Blend
from styles.storage.home import Home, expanded
from styles.storage.setting import taken_over
from training.artworks.dataset import KnownPicture
from training.job import Job
from training.optimizers import check_optimizer
from training.other_trainers.settings import OtherSettings
from training.placement import check_precision

if TYPE_CHECKING:
    from styles.mixing.bake import BakePlan

PAUSE_PATIENCE_SECONDS = 180
CLOSING_PATIENCE_SECONDS = 30


class Studio:
    """The rooms of one home; built once and handed down."""

    def __init__(self, home: Home) -> None:
        self.home = home.create()
        make_private(home)
        self.settings, self._settings_problem = Settings.load_what_can_be(home)
        self.library = Library(home)
        self.shelf = BaseShelf(home)
        self.trainings = Trainings(home)
        self.base_session = BaseSession(
            home, self.library, before_card=lambda: self.preparation.measuring.stop()
        )
        self.blends = Blends(home, self.library)
        self.mix_tools = MixTools(home, self.library, self.base_session)
        self.idle = Idle(self.base_session, self.library, self.trainings, lambda: self.settings)
        self._starting = threading.Lock()
        self.queue = TrainingQueue(home, self.trainings, self._start)
        self.preparation = TrainingPreparation(
            home,
            self.library,
            self.trainings,
            self.base_source,
            lambda: self.settings,
            self.base_session.make_room,
        )
        self._rendering: Rendering | None = None

    def problems(self) -> list[AtelierError]:
        """What is wrong in the home, each with what to do; none of it keeps the rest from being used."""
        odd = (
            self._settings_problem, self.shelf.problem, self.shelf.problem_in_use, self.queue.problem,
        )  # fmt: skip
        return [*self.home.problems(), *(one for one in odd if one is not None)]

    def change_settings(self, settings: Settings) -> Settings:
        """Take other settings and save them; raises SettingsError."""
        self.settings = settings
        self.settings.save(self.home)
        self._settings_problem = None
        return self.settings

    def base_source(self, base: str) -> str:
        """What to open for a base that is asked for by name, folder, file or Hub id; the one in use where empty."""
        if not base.strip():
            return self.shelf.in_use
        path = expanded(base.strip())
        # Absolute, since a trainer works in another folder.
        return str(path.absolute()) if is_here(path) and base != "starter" else base.strip()

    def warm_up(self) -> None:
        """Open the base in use in the background, so that the first picture comes sooner."""
        threading.Thread(target=self._open_quietly, name="open the base", daemon=True).start()

    def _open_quietly(self) -> None:
        if self.trainings.running() is not None:
            return  # the memory is the trainer's
        try:
            self.base_session.warm(self.base_source(""), self.settings)
        except Exception:
            return  # not lost: whoever paints next meets the same error, and is told

    def close(self) -> None:
        """Let trainings go on by themselves; called when the window ends."""
        self.idle.stop()
        self.stop_rendering()
        if self._rendering is not None:
            self._rendering.wait(CLOSING_PATIENCE_SECONDS)  # a training that it had paused goes on after it
        self.queue.close()
        self.preparation.close()
        self.trainings.runner.let_go()

    # Pictures

    def create(
        self,
        order: PictureOrder,
        folder: Path | None = None,
        *,
        cancelled: Callable[[], bool] = lambda: False,
        pause_training: bool = False,
    ) -> Iterator[PaintingEvent]:
        """Paint what `order` says into `folder`, else into the home's pictures, telling each step.

        While a training fills the accelerator's memory this raises OutOfMemory, or pauses it for the while.
        """
        source = self.base_source(order.settings.base)
        target = folder or self.home.pictures
        yield from self._beside_training(
            source,
            lambda: self.base_session.paint(order, source, target, self.settings, cancelled),
            cancelled,
            pause=pause_training,
        )

    def create_again(
        self,
        picture: Path,
        folder: Path | None = None,
        *,
        base: str = "",
        agreed: bool = False,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Iterator[PaintingEvent]:
        """Paint the picture of a PNG once more, from the recipe inside it; raises RecipeError."""
        recipe = without_missing(read_recipe(picture, pixels=True), self.library)
        if recipe.unsaid:  # another program's picture, of which not all is known
            wish = PictureOrder("", PictureSettings(base=base), agreed=agreed)
            order = self.order_like(recipe, wish, given=frozenset({"base"} if base else ()))
            yield from self.create(order, folder, cancelled=cancelled)
            return
        source = self.base_source(base) if base else self.source_for(recipe)
        target = folder or self.home.pictures
        yield from self._beside_training(
            source,
            lambda: self.base_session.paint_again(recipe, source, target, self.settings, cancelled, agreed),
            cancelled,
            pause=False,
        )

    def order_like(
        self,
        recipe: Recipe,
        wish: PictureOrder,
        passes: PassSettings | None = None,
        given: frozenset[str] = frozenset(),
    ) -> PictureOrder:
        """A wish completed from the recipe that it changes; of its settings only those `given` by name count.

        Raises BadInput.
        """
        mix, recipe = wish.mix, without_missing(recipe, self.library)
        if not mix.start.parts:  # what is asked for changes and completes the picture's own blend
            notes = name_notes(recipe, self.library)
            mix = replace(mix, start=blend_again(recipe, self.library), notes=(*mix.notes, *notes))
        recipe = recipe.with_signs()
        source = self.source_for(recipe)
        painted_on = self.base_source(wish.settings.base) if "base" in given else source
        quantize = self.base_session.quantize_of(recipe, painted_on)
        settings = replace(PictureSettings.of(recipe, source).sized_as(recipe), quantize=quantize)
        image, before = wish.image, PassSettings.of(recipe)
        if image is not None:
            before = replace(before, denoise=None)
        elif recipe.source:
            kept_source(recipe.source, self.home)  # told now if it is gone
            image = source_path(recipe.source, self.home)
        return replace(
            wish,
            prompt=wish.prompt or recipe.prompt,
            settings=taken_over(settings, wish.settings, given),
            passes=taken_over(before, passes or before, given),
            image=image,
            mix=mix,
            left_out=words_left_out(recipe, self.library),
            like=recipe,
        )

    def source_for(self, recipe: Recipe) -> str:
        """The base to make a recipe's picture with: its own where it is known here, else the one in use."""
        source = self.base_session.source_of(recipe)
        if source:
            return source
        names = [entry.name for entry in self.shelf.list() if entry.installed and not entry.problem]
        return recipe.base if recipe.base in names else self.base_source("")

    def render(
        self, order: PictureOrder, folder: Path | None = None, *, pause_training: bool = False
    ) -> Rendering:
        """Paint in the background into `folder`, else the home's; the rendering hands the events over and can be stopped.

        Raises JobError while another one is going on.
        """
        if self._rendering is not None:
            patience = CLOSING_PATIENCE_SECONDS if self._rendering.stopped else 0.0
            if not self._rendering.wait(patience):
                raise JobError("Another picture is being painted.", "Wait until it is done, or stop it.")
        self._rendering = Rendering(
            lambda cancelled: self.create(order, folder, cancelled=cancelled, pause_training=pause_training)
        )
        return self._rendering

    def stop_rendering(self) -> None:
        """Stop what is being painted in the background, if anything."""
        if self._rendering is not None:
            self._rendering.stop()

    def recent_pictures(self, count: int) -> list[Path]:
        """The newest pictures in the home's folder, newest first."""
        pictures = []
        for path in self.home.pictures.glob("[!.]*.png"):  # one with a dot is still being written
            with contextlib.suppress(OSError):  # deleted since
                pictures.append((path.stat().st_mtime, path))
        return [path for _, path in sorted(pictures, reverse=True)[:count]]

    def _beside_training(
        self,
        source: str,
        paint: Callable[[], Iterator[PaintingEvent]],
        cancelled: Callable[[], bool],
        *,
        pause: bool,
    ) -> Iterator[PaintingEvent]:
        job = self.trainings.running()
        if job is None:
            yield from paint()
            return
        if not pause:
            self._refuse_if_crowded(source)
            yield from paint()
            return
        with self.queue.kept_back():
            try:
                self._pause_and_wait(job, cancelled)
                yield from paint()
            finally:
                # It may have come to its end instead of pausing, or somebody else went on with it.
                if self.trainings.state(job) == "paused":
                    self.base_session.put_away()
                    self.resume_training(job.folder.name)

    def _refuse_if_crowded(self, source: str) -> None:
        job = self.trainings.running()
        if job is not None and not self.base_session.on_accelerator:
            refuse_if_crowded(source, self.home, self.settings, job.name)

    def _pause_and_wait(self, job: Job, cancelled: Callable[[], bool]) -> None:
        job.request("pause")
        until = time.monotonic() + PAUSE_PATIENCE_SECONDS
        while self.trainings.state(job) == "running":
            if cancelled() or time.monotonic() > until:
                job.request("resume")  # takes the request back
                if cancelled():
                    raise Cancelled("Stopped.")
                raise JobError(
                    "“{training}” has not paused within {pause_patience_seconds} s.",
                    "Try again later.",
                    training=job.name,
                    pause_patience_seconds=PAUSE_PATIENCE_SECONDS,
                )
            time.sleep(0.2)

    # Mixes

    def mix(
        self,
        order: MixOrder,
        base: str = "",
        say: Callable[[str], None] = lambda text: None,
        *,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Blend:
        """A mix as the weights that it comes to, to be kept; raises BadInput, Cancelled."""
        source = self.base_source(base)
        self._refuse_if_crowded(source)
        return self.mix_tools.blend(order, source, self.settings, say, cancelled)

    def strengths(
        self, order: MixOrder, base: str = "", *, cancelled: Callable[[], bool] = lambda: False
    ) -> dict[str, Any]:
        """How strong the styles of a mix are on a base, and the mix in all; raises BadInput, Cancelled."""
        source = self.base_source(base)
        self._refuse_if_crowded(source)
        return self.mix_tools.strengths(order, source, self.settings, cancelled)

    def bake(
        self,
        order: MixOrder,
        plan: BakePlan,
        base: str = "",
        say: Callable[[str], None] = lambda text: None,
        *,
        cancelled: Callable[[], bool] = lambda: False,
        progress: Callable[[float], None] = lambda share: None,
    ) -> StyleCard:
        """Bake a mix into one new style of the library, telling the share that is done; raises BadInput, Cancelled."""
        source = self.base_source(base)
        self._refuse_if_crowded(source)
        return self.mix_tools.bake(order, plan, source, self.settings, say, cancelled, progress)

    def picture_card(self, name: str, base: str = "") -> StyleCard:
        """Paint a picture for the card of a style that has none; raises BadInput, WrongFamilyError."""
        source = self.base_source(base)
        self._refuse_if_crowded(source)
        return self.mix_tools.picture(name, source, self.settings)

    # Trainings

    def take_over(self, other: OtherSettings, shown: int) -> TakenOver:
        """Take over the settings of another trainer for `shown` pictures, as far as they can be had here; raises BadInput."""

        def check_base(base: str) -> None:
            base_facts_of(self.base_source(base), self.home)

        return settings_here(other, shown, check_base, self.settings.device)

    def survey_training(self, order: TrainingOrder) -> Survey:
        """Look at what a training would be of, without starting it; raises BadInput."""
        self._check_training(order)
        plan = self.trainings.plan(*self._with_base(order))
        grid = self.preparation.grid(order.base, plan.resolution_px or None)
        return survey(order, plan, grid)

    def start_training(
        self, order: TrainingOrder, known: Mapping[Path, KnownPicture] = MappingProxyType({})
    ) -> Job:
        """Start a training in a process of its own; raises BadInput, JobError.

        Pictures in `known`, of a survey, are not opened once more.
        """
        self.trainings.refuse_second()
        job = self._prepared(order, known)
        self._start(job)
        return job

    def queue_training(self, order: TrainingOrder) -> Job:
        """Start a training, or let it wait behind those that train or wait already; raises BadInput, JobError."""
        job = self._prepared(order)
        if self.queue.waiting() or self.trainings.running() is not None:
            self.queue.add(job)
        else:
            self._start(job)
        return job

    def _check_training(self, order: TrainingOrder) -> None:
        check_precision(self.settings.device, self.settings.precision)
        check_optimizer(order.settings.optimizer, self.settings.device)

    def _with_base(
        self, order: TrainingOrder
    ) -> tuple[TrainingOrder, Callable[[], tuple[str, str, str]], Style | None]:
        """The order as the settings complete it, what it is trained on, and the style that it goes on from."""
        begun = self.library.open(order.continue_from) if order.continue_from else None
        return (
            sparing(order, self.settings),
            lambda: base_facts_of(self.base_source(order.base), self.home, order.settings.quantize),
            begun,
        )

    def _prepared(
        self, order: TrainingOrder, known: Mapping[Path, KnownPicture] = MappingProxyType({})
    ) -> Job:
        self._check_training(order)
        return self.trainings.prepare(*self._with_base(order), {**self.preparation.draft.known(), **known})

    def resume_training(self, job_id: str) -> Job:
        """Go on with a training from its last checkpoint; raises BadInput, JobError."""
        job = self.trainings.resumable(job_id)
        check_precision(self.settings.device, self.settings.precision)
        self._start(job)
        return job

    def _start(self, job: Job) -> None:
        self.queue.remove(job.folder.name)
        self.queue.release()
        self.preparation.measuring.stop()  # the trainer needs the whole machine
        if self.base_session.on_accelerator:
            self.stop_rendering()
            self.base_session.put_away()  # the trainer needs that memory
        with self._starting:  # of several that were asked for at one moment one trains
            self.trainings.refuse_second()
            self.trainings.start(job, self.settings.device, self.settings.precision)

    def pause_training(self, job_id: str) -> None:
        """Ask a running training to save a checkpoint and end, the queue behind it waits; raises BadInput, JobError."""
        self._running(job_id).request("pause")
        self.queue.hold()

    def stop_training(self, job_id: str) -> None:
        """Ask a running training to end now and keep its style; raises BadInput, JobError."""
        self._running(job_id).request("stop")

    def _running(self, job_id: str) -> Job:
        job = self.trainings.job(job_id)
        if self.trainings.state(job) != "running":
            raise JobError("“{training}” is not training now.", training=job.name)
        return job

    def follow(self, job: Job) -> Iterator[Progress]:
        """Yield how a training comes along until its process has ended."""
        return self.trainings.follow(job)

    def jobs(self) -> list[JobCard]:
        """All trainings, newest first."""
        return self.trainings.cards()
