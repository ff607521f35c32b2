"""Whole runs on tiny bases, in this process."""

import itertools
import json
import math
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from styles.bases.base import Base, open_base
from styles.bases.prediction import predict
from styles.devices import threads
from styles.errors import (
    DiskFullError,
    JobError,
    PictureError,
    PlanError,
    PromptError,
    TrainingFailed,
    UnknownStyleError,
)
from styles.formats.reader import read_style
from styles.generation.generate import PictureDone, generate
from styles.generation.prompts import PromptReading, encode_prompts
from styles.generation.request import CreateRequest
from styles.library.library import Library
from styles.storage.home import Home
from tests.tiny import tiny_base_folder
from training import checkpoint, encode
from training.adapters import adapted, set_weight, style_layers
from training.events import (
    CheckpointSaved,
    Finished,
    Paused,
    PhaseStarted,
    PreviewReady,
    RolledBack,
    StepDone,
    ThreadsChosen,
    TrainingEvent,
    Warned,
)
from training.job import Job, jobs_in
from training.loop import train
from training.plan import TrainingPlan
from training.result import choices, finish, keep, style_of
from training.trainer import Trainer

from .conftest import small_plan

MakeJob = Callable[..., Job]


def opened(folder: Path) -> Base:
    return open_base(folder, Home(folder.parent), device="cpu")


@pytest.fixture(scope="module")
def base(tiny_base: Path) -> Base:
    return opened(tiny_base)


def follow(job: Job, base: Base | None = None, **options: Any) -> list[TrainingEvent]:
    """Run a job to its end as the trainer's process does."""
    events = []
    with job.held():
        for event in train(job, base=base, device="cpu", **options):
            job.append(event)
            events.append(event)
    return events


def of(kind: type, events: Iterable[TrainingEvent]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def state_of(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_a_run_tells_its_way_and_leaves_a_style_and_the_base_as_it_was(make_job: MakeJob, base: Base) -> None:
    job = make_job(Path("unused"))
    before = [state_of(part) for part in (base.unet, base.vae, base.text_encoders[0])]
    events = follow(job, base)
    assert all(
        same(state, state_of(part))
        for state, part in zip(before, (base.unet, base.vae, base.text_encoders[0]), strict=True)
    )
    assert not any(parameter.requires_grad for parameter in base.unet.parameters())

    # Every second step, and the quarters of the run: there the loss is read too, to save nothing broken.
    assert [event.step for event in of(StepDone, events)] == [2, 3, 4, 6]
    assert [event.step for event in of(CheckpointSaved, events)] == [0, 2, 3, 4, 6]
    assert [event.step for event in of(PreviewReady, events)] == [0, 3, 6]
    phases = list(dict.fromkeys(event.phase for event in of(PhaseStarted, events)))
    assert phases == ["base", "captions", "latents", "training", "style"]
    for preview in of(PreviewReady, events):
        assert preview.prompts == ("a red house",)
        with Image.open(job.folder / preview.paths[0]) as image:
            assert image.size == (64, 64)
    assert job.events() == events and job.state() == "finished"

    finished = events[-1]
    assert isinstance(finished, Finished) and not finished.stopped
    style = Library(job.home).open("blocks")
    assert style.id == finished.style_id == read_style(job.folder / "style.safetensors").id
    assert Path(finished.style_path).parent == job.home.styles
    card = style.card
    assert (card.family, card.trigger, card.rank, card.base_fingerprint) == (
        "starter",
        "blocks",
        2,
        base.fingerprint,
    )
    facts = {
        "artworks": 4,
        "steps": 6,
        "rank": 2,
        "learning_rate": 1e-2,
        "prediction_type": "v_prediction",
        "base_layers": 7,
        "resolution_px": 64,
        "seed": 0,
        "batch": 2,
        "layers": "cross",
    }
    assert facts.items() <= card.training.items()
    assert card.thumbnail is not None


def test_only_cross_attention_is_trained_unless_asked_for(make_job: MakeJob, base: Base) -> None:
    projections = ("to_q", "to_k", "to_v", "to_out.0")
    cross = {f"attn2.{part}" for part in projections}
    both = cross | {f"attn1.{part}" for part in projections}
    whole = both | {"ff.net.0.proj", "ff.net.2"}
    transformers = [name for name, _ in base.unet.named_modules() if name.endswith("transformer_blocks.0")]
    for layers, wanted in (("cross", cross), ("cross+self", both), ("transformer", whole)):
        job = make_job(Path("unused"), layers=layers, steps=2, preview_every=0)
        follow(job, base)
        style = read_style(job.folder / "style.safetensors")
        paths = {f"{block}.{part}" for block in transformers for part in wanted}
        if layers == "transformer":
            ends = ("proj_in", "proj_out")
            paths |= {f"{block.partition('.transformer')[0]}.{end}" for block in transformers for end in ends}
        assert paths == {layer.path for layer in style.layers}
        assert all(layer.up.abs().max() > 0 for layer in style.layers)


def test_an_untrained_style_changes_nothing_and_starts_gaussian(base: Base) -> None:
    plan = small_plan(Path("unused"), rank=4)
    latents, states = torch.randn(1, 4, 16, 16), torch.randn(1, 40, 256)
    random_state = torch.random.get_rng_state()
    with torch.no_grad():
        plain = base.unet(latents, 500, states).sample
        with adapted(base.unet, plan) as weights:
            assert torch.equal(base.unet(latents, 500, states).sample, plain)
            downs = torch.cat([w.flatten() for name, w in weights.items() if name.endswith(".down")])
            assert float(downs.std()) == pytest.approx(0.25, rel=0.05)
            assert all(float(w.abs().max()) == 0 for name, w in weights.items() if name.endswith(".up"))
            assert all(w.dtype == torch.float32 and w.requires_grad for w in weights.values())
            trainable = {id(p) for p in base.unet.parameters() if p.requires_grad}
            assert trainable == {id(w) for w in weights.values()}
    assert torch.equal(torch.random.get_rng_state(), random_state)


def test_adapters_come_off_after_an_exception(base: Base) -> None:
    names = list(base.unet.state_dict())
    with pytest.raises(KeyboardInterrupt), adapted(base.unet, small_plan(Path("unused"))):
        raise KeyboardInterrupt
    assert list(base.unet.state_dict()) == names


@pytest.mark.parametrize("kind", ["sd1", "sd2", "sd2 epsilon"])
def test_stable_diffusion_shaped_bases_train_and_paint_with_their_styles(
    make_job: MakeJob, kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    family = kind.partition(" ")[0]
    if kind == "sd2 epsilon":
        folder = tiny_base_folder(tmp_path / "base", "sd2", prediction_type="epsilon")
    else:
        folder = request.getfixturevalue(f"tiny_{family}")
    job = make_job(folder, family, steps=4, gradient_accumulation=2, flip=True)
    events = follow(job)
    assert isinstance(events[-1], Finished)
    style = Library(job.home).open("blocks")
    assert style.card.family == family
    opened = open_base(folder, job.home, device="cpu")
    assert opened.prediction_type == ("v_prediction" if kind == "sd2" else "epsilon")
    plain, styled = (
        [
            event.image.tobytes()
            for event in generate(opened, request, (style,))
            if isinstance(event, PictureDone)
        ]
        for request in (CreateRequest("a cat", weights=((weight,),), steps=2) for weight in (0.0, 1.0))
    )
    assert plain != styled
    assert of(StepDone, events)[-1].step == 4
    tensors = encode.load(job)
    assert sum(len(bucket.mean) for bucket in tensors.buckets) == 8  # four artworks, and mirrored
    for bucket in tensors.buckets:
        assert bucket.captions.tolist() == sorted(bucket.captions.tolist())


def test_half_precision_bases_train_fp32_layers_and_get_their_forward_back(
    make_job: MakeJob, tiny_base: Path
) -> None:
    half = open_base(tiny_base, Home(tiny_base.parent), device="cpu", dtype="bf16")
    before = [state_of(half.unet), state_of(half.vae)]
    for name in ("one", "two"):
        job = make_job(Path("unused"), name=name, steps=2)
        assert isinstance(follow(job, half)[-1], Finished)
        state = checkpoint.latest(job.folder / "checkpoints")
        assert state is not None and state.progress.environment["dtype"] == "bfloat16"
        assert all(weight.dtype == torch.float32 for weight in state.weights.values())
        assert same(before[0], state_of(half.unet)) and same(before[1], state_of(half.vae))
        assert "forward" not in half.unet.__dict__


def test_the_loss_falls_on_what_it_is_shown(make_job: MakeJob, base: Base) -> None:
    job = make_job(
        Path("unused"), steps=30, batch=4, report_every=10, preview_every=0, checkpoint_every=30, rank=8,
        opposite_every=0,
    )  # fmt: skip
    losses = [event.loss for event in of(StepDone, follow(job, base))]
    assert losses[-1] < losses[0]


def learnt(job: Job) -> dict[str, torch.Tensor]:
    last = checkpoint.latest(job.folder / "checkpoints")
    assert last is not None
    return last.weights


def test_an_opposite_step_teaches_the_same_as_any_other(make_job: MakeJob, base: Base) -> None:
    """At the start exactly, since loss and gradient at weight -1 towards the mirrored target are the same."""
    jobs = [make_job(base.folder, steps=1, report_every=1, opposite_every=n) for n in (0, 1)]
    (usual,), (mirrored,) = (of(StepDone, follow(job, base)) for job in jobs)
    assert mirrored.loss == pytest.approx(usual.loss, rel=1e-5)
    plain, opposite = (learnt(job) for job in jobs)
    assert any(weight.abs().max() > 0 for name, weight in plain.items() if name.endswith(".up"))
    for name, weight in plain.items():
        torch.testing.assert_close(opposite[name], weight, rtol=1e-3, atol=1e-4)


def test_opposite_steps_make_the_slider_straight(make_job: MakeJob, base: Base) -> None:
    def bend(every: int) -> float:
        """How far the middle of the predictions at 1 and -1 lies from the base's, of the way that the style goes."""
        job = make_job(
            base.folder, steps=30, rank=8, batch=2, preview_every=0, checkpoint_every=30, opposite_every=every
        )
        follow(job, base)
        trained, prepared = learnt(job), encode.load(job)
        latents = prepared.buckets[0].mean[:1].repeat(4, 1, 1, 1)
        noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(5))
        words = prepared.captions[torch.tensor([2] * 4)]  # "blocks, a blue boat"
        with adapted(base.unet, job.plan) as weights, torch.no_grad():
            for name, value in trained.items():
                weights[name].copy_(value)
            at = {}
            for weight in (-1.0, 0.0, 1.0):
                set_weight(base.unet, weight)
                at[weight] = predict(base.unet, 0.5 * latents + noise, torch.arange(100, 900, 200), words)
        middle, way = (at[1.0] + at[-1.0]) / 2 - at[0.0], (at[1.0] - at[-1.0]) / 2
        return float(middle.norm() / way.norm())

    assert bend(2) < 0.7 * bend(0)


def test_a_plan_for_another_family_is_refused(make_job: MakeJob, base: Base) -> None:
    with pytest.raises(PlanError, match="starter"):
        follow(make_job(Path("unused"), "sd1"), base)


def test_pause_keeps_a_checkpoint_and_going_on_ends_as_without_it(make_job: MakeJob, base: Base) -> None:
    whole, broken = make_job(Path("unused")), make_job(Path("unused"))
    follow(whole, base)
    with broken.held():
        for event in train(broken, base=base):
            broken.append(event)
            if isinstance(event, StepDone) and event.step == 2:
                broken.request("pause")
    assert isinstance(broken.events()[-1], Paused)
    assert broken.state() == "paused" and broken.requested() is None
    encoded = (broken.folder / "prepared.safetensors").stat().st_mtime_ns
    events = follow(broken, base)
    assert isinstance(events[-1], Finished)
    assert (broken.folder / "prepared.safetensors").stat().st_mtime_ns == encoded
    results = [checkpoint.latest(job.folder / "checkpoints") for job in (whole, broken)]
    assert results[0] and results[1]
    assert same(results[0].weights, results[1].weights)
    assert same(results[0].optimizer, results[1].optimizer)
    assert events[-1].style_id == whole.events()[-1].style_id  # type: ignore[union-attr]


def test_stop_keeps_what_was_learnt(make_job: MakeJob, base: Base) -> None:
    job = make_job(Path("unused"), steps=50, checkpoint_every=50)
    for event in train(job, base=base):
        job.append(event)
        if isinstance(event, StepDone):
            job.request("stop")
    finished = job.events()[-1]
    assert isinstance(finished, Finished) and finished.stopped and 2 <= finished.step < 10
    assert Library(job.home).find("blocks").training["steps"] == finished.step


def test_a_paused_job_stops_without_opening_its_base(make_job: MakeJob, base: Base) -> None:
    job = make_job(Path("unused"))
    for event in train(job, base=base):
        if isinstance(event, StepDone):
            job.request("pause")
    job.request("stop")
    events = list(train(job))  # its plan names a base that does not exist
    assert isinstance(events[-1], Finished) and events[-1].stopped
    assert Library(job.home).find("blocks")


@pytest.mark.parametrize("what", ["pause", "stop"])
@pytest.mark.parametrize("phase", ["base", "captions", "latents"])
def test_requests_are_heard_in_every_phase(make_job: MakeJob, base: Base, what: Any, phase: str) -> None:
    job = make_job(Path("unused"))
    events = []
    for event in train(job, base=base):
        events.append(event)
        if isinstance(event, PhaseStarted) and event.phase == phase:
            job.request(what)
    assert not of(StepDone, events)
    expected = Paused(0) if what == "pause" else Finished(0, "", "", "blocks", 0.0, stopped=True)
    assert events[-1] == expected
    assert not list(job.folder.glob("*.part*"))


def test_cancelling_pauses_in_the_middle_of_a_preview(make_job: MakeJob, base: Base) -> None:
    job = make_job(Path("unused"), preview_steps=50)
    asked = []
    saved = False

    def cancelled() -> bool:
        asked.append(saved)
        return sum(asked) > 3  # a few denoising steps into the first preview

    events = []
    for event in train(job, base=base, cancelled=cancelled):
        events.append(event)
        saved = saved or isinstance(event, CheckpointSaved)
    assert events[-1] == Paused(0) and not of(PreviewReady, events)
    assert not list((job.folder / "previews").iterdir())


def test_a_step_is_broken_off_anywhere_and_the_style_comes_out_the_same(
    make_job: MakeJob, base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.loop.LOOK_SECONDS", 0.0)
    numbers = {"preview_every": 0, "gradient_accumulation": 2, "batch": 1, "opposite_every": 2, "steps": 4}
    steps: list[str] = []  # "begun" and "done" of each
    take, looks = Trainer._take_step, 0

    def watched(trainer: Trainer) -> None:
        steps.append("begun")
        take(trainer)
        steps.append("done")

    monkeypatch.setattr(Trainer, "_take_step", watched)

    def ended(job: Job, first: float, last: float) -> TrainingEvent:
        """How a run ends that is asked to pause at some looks within its steps."""
        nonlocal looks
        looks = 0
        steps.clear()

        def cancelled() -> bool:
            nonlocal looks
            looks += bool(steps) and steps[-1] == "begun"
            return first <= looks <= last

        return follow(job, base, cancelled=cancelled)[-1]

    whole = ended(make_job(Path("unused"), **numbers), math.inf, math.inf)
    assert isinstance(whole, Finished) and looks > 1000, "forward, backward, and the opposite steps' own pass"
    for number in (looks // 5, looks * 7 // 8):  # taken back at once: the same step is done again
        end = ended(make_job(Path("unused"), **numbers), number, number)
        assert steps.count("begun") == steps.count("done") + 1 and steps[-1] == "done"
        assert isinstance(end, Finished) and end.style_id == whole.style_id
    broken = make_job(Path("unused"), **numbers)
    for number in (20, looks // 4, looks // 3):
        assert isinstance(ended(broken, number, math.inf), Paused)
        assert steps[-1] == "begun", "it is not done first"
    end = ended(broken, math.inf, math.inf)
    assert isinstance(end, Finished) and end.style_id == whole.style_id


def test_what_was_learnt_is_saved_when_a_preview_is_broken_off(make_job: MakeJob, base: Base) -> None:
    job = make_job(Path("unused"), steps=8, checkpoint_every=8, report_every=3, preview_every=3)
    events: list[Any] = []

    def cancelled() -> bool:
        if not any(isinstance(event, StepDone) and event.step == 3 for event in events):
            return False
        job.request("stop")
        return True

    for event in train(job, base=base, cancelled=cancelled):
        events.append(event)
    assert 3 not in [event.step for event in of(PreviewReady, events)]
    assert isinstance(events[-1], Finished) and (events[-1].step, events[-1].stopped) == (3, True)
    assert read_style(job.folder / "style.safetensors").layers


def _poison(base: Base) -> None:
    for name, parameter in base.unet.named_parameters():
        if "lora_B" in name:
            parameter.data.fill_(float("nan"))
            return


def test_numbers_that_overflow_are_rolled_back_with_a_lower_rate(make_job: MakeJob, base: Base) -> None:
    job = make_job(Path("unused"), steps=8)
    events = []
    for event in train(job, base=base):
        events.append(event)
        if isinstance(event, CheckpointSaved) and event.step == 4 and not of(RolledBack, events):
            _poison(base)
    (back,) = of(RolledBack, events)
    assert (back.to_step, back.learning_rate_factor) == (4, 0.5) and back.step > 4
    assert isinstance(events[-1], Finished)
    style = read_style(job.folder / "style.safetensors")
    assert all(torch.isfinite(layer.up).all() for layer in style.layers)
    assert style.card.training["learning_rate_factor"] == 0.5


def test_numbers_that_always_overflow_end_the_run_with_advice(make_job: MakeJob, base: Base) -> None:
    job = make_job(Path("unused"), steps=8)
    with pytest.raises(TrainingFailed, match="overflowed") as caught:
        for event in train(job, base=base):
            if isinstance(event, CheckpointSaved | RolledBack):
                _poison(base)
    assert "learning rate" in caught.value.hint and "fp32" not in caught.value.hint
    assert not job.home.styles.exists() or not list(job.home.styles.glob("*.safetensors"))


def test_a_full_disk_leaves_the_last_checkpoint_whole(make_job: MakeJob, base: Base) -> None:
    resource = pytest.importorskip("resource")  # not on Windows
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    job = make_job(Path("unused"), preview_every=0)
    try:
        with pytest.raises(DiskFullError):
            for event in train(job, base=base):
                if isinstance(event, CheckpointSaved) and event.step == 2:
                    # A disk with so many bytes left.
                    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(job.folder.rglob("*.part*"))
    assert checkpoint.latest(job.folder / "checkpoints").progress.step == 2  # type: ignore[union-attr]
    assert isinstance(follow(job, base)[-1], Finished)


def test_a_damaged_checkpoint_is_passed_over(make_job: MakeJob, base: Base) -> None:
    job = make_job(Path("unused"))
    follow(job, base)
    newest = sorted((job.folder / "checkpoints").glob("*.safetensors"))[-1]
    newest.write_bytes(newest.read_bytes()[:100])
    state = checkpoint.latest(job.folder / "checkpoints")
    assert state is not None and state.progress.step < 6


def test_checkpoints_kept_are_the_newest_two_and_the_quarters(make_job: MakeJob, base: Base) -> None:
    job = make_job(Path("unused"), steps=16, checkpoint_every=1, preview_every=0)
    follow(job, base)
    steps = [int(path.stem[-6:]) for path in sorted((job.folder / "checkpoints").glob("*.safetensors"))]
    assert steps == [4, 8, 12, 15, 16]


def test_another_base_or_other_conditions_are_noticed_on_going_on(
    make_job: MakeJob, base: Base, tmp_path: Path
) -> None:
    from tests.tiny import tiny_base_folder

    job = make_job(Path("unused"))
    for event in train(job, base=base):
        if isinstance(event, StepDone):
            job.request("pause")
    with pytest.raises(TrainingFailed, match="not the base"):
        list(train(job, base=opened(tiny_base_folder(tmp_path / "other", seed=5))))
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        events = iter(train(job, base=base))
        begun = list(itertools.takewhile(lambda event: getattr(event, "phase", "") != "training", events))
        events.close()  # type: ignore[attr-defined]
    finally:
        torch.set_num_threads(threads)
    notes = of(Warned, begun)
    assert len(notes) == 1 and f"threads {threads} -> {threads + 1}" in notes[0].message


def test_going_on_takes_as_many_threads_as_before(
    make_job: MakeJob, base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are what the last bits depend on, so that only a training that begins measures how many are fastest."""
    for name in threads.CHOSEN_BY:
        monkeypatch.delenv(name, raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    monkeypatch.setattr(threads, "candidates", lambda: [1])
    job = make_job(Path("unused"))
    try:
        begun = []
        for event in train(job, base=base):
            begun.append(event)
            if isinstance(event, StepDone):
                job.request("pause")
        assert [event.threads for event in of(ThreadsChosen, begun)] == [1]
        torch.set_num_threads(2)
        monkeypatch.setattr(threads, "candidates", lambda: [2])
        ended = list(train(job, base=base))
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
    assert not of(ThreadsChosen, ended) and not of(Warned, ended)


@pytest.fixture(scope="module")
def paused_home(tmp_path_factory: pytest.TempPathFactory, artworks: Path, base: Base) -> Path:
    """A home whose one job has two checkpoints or more and was stopped before its end."""
    home = tmp_path_factory.mktemp("paused") / "home"
    job = Job.create(home / "jobs", small_plan(Path("unused")), [artworks])
    for event in train(job, base=base):
        if isinstance(event, StepDone) and len(checkpoint.steps_in(job.folder / "checkpoints")) > 1:
            job.request("pause")
    return home


@pytest.fixture(scope="module")
def finished_home(tmp_path_factory: pytest.TempPathFactory, artworks: Path, base: Base) -> Path:
    """A home whose one job has made its style."""
    home = tmp_path_factory.mktemp("finished") / "home"
    follow(Job.create(home / "jobs", small_plan(Path("unused")), [artworks]), base)
    return home


def job_copied(home: Path, folder: Path) -> Job:
    """The one job of a copy of that home."""
    (job,) = jobs_in(shutil.copytree(home, folder / "home") / "jobs")
    return job


@pytest.fixture
def paused(paused_home: Path, tmp_path: Path) -> Job:
    return job_copied(paused_home, tmp_path)


@pytest.fixture
def finished(finished_home: Path, tmp_path: Path) -> Job:
    return job_copied(finished_home, tmp_path)


def test_a_checkpoint_that_has_changed_is_passed_over_and_named(paused: Job, base: Base) -> None:
    folder = paused.folder / "checkpoints"
    *_, before, last = checkpoint.steps_in(folder)
    file = folder / f"step-{last:06d}.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1  # one bit of one number: still a file that opens
    file.write_bytes(data)
    (warned, *_) = of(Warned, train(paused, base=base))
    assert (
        warned.message
        == f"The checkpoint of step {last} is not as it was saved: going on from step {before}."
    )


def test_where_all_checkpoints_have_changed_the_training_begins_anew_and_says_so(
    paused: Job, base: Base
) -> None:
    folder = paused.folder / "checkpoints"
    for step in checkpoint.steps_in(folder):
        (folder / f"step-{step:06d}.safetensors").write_bytes(b"\0" * 100)
    events = list(train(paused, base=base))
    assert "begins anew" in of(Warned, events)[0].message
    assert of(Finished, events)[0].step == paused.plan.steps


def test_a_checkpoint_of_an_older_version_has_no_hash_and_is_taken(paused: Job, base: Base) -> None:
    folder = paused.folder / "checkpoints"
    for file in folder.glob("*.sha256"):
        file.unlink()
    last = checkpoint.latest(folder)
    assert last and last.progress.step == checkpoint.steps_in(folder)[-1]
    assert not of(Warned, train(paused, base=base))


class Killed(BaseException):
    """Nothing of ours answers it, as nothing answers a kill."""


@pytest.mark.parametrize("renamed", range(4))
@pytest.mark.parametrize("late", [False, True])
def test_a_kill_while_a_style_is_added_doubles_nothing(
    paused: Job, monkeypatch: pytest.MonkeyPatch, renamed: int, late: bool
) -> None:
    """Killed before or after each file that comes to be by a renaming, then done again."""
    last = checkpoint.latest(paused.folder / "checkpoints")
    assert last is not None
    _killed_at(monkeypatch, renamed, late, lambda: finish(paused, last))
    done = finish(paused, last)
    assert [str(path) for path in paused.home.styles.rglob("*.safetensors")] == [done.style_path]


def test_a_style_that_was_renamed_or_deleted_after_a_kill_is_not_added_again(paused: Job) -> None:
    last = checkpoint.latest(paused.folder / "checkpoints")
    assert last is not None
    library, first = Library(paused.home), finish(paused, last)
    library.rename(first.style_name, "Another")
    renamed = finish(paused, last)
    assert (renamed.style_name, renamed.style_id) == ("Another", first.style_id)
    library.delete("Another")
    finish(paused, last)
    assert not list(paused.home.styles.rglob("*.safetensors"))


@pytest.mark.parametrize("renamed", range(6))
def test_a_kill_while_another_checkpoint_is_kept_doubles_nothing(
    finished: Job, monkeypatch: pytest.MonkeyPatch, renamed: int
) -> None:
    first = checkpoint.steps_in(finished.folder / "checkpoints")[1]
    before = [path.name for path in finished.home.styles.rglob("*.safetensors")]
    _killed_at(monkeypatch, renamed, True, lambda: keep(finished, first))
    done = keep(finished, first)
    assert [path.name for path in finished.home.styles.rglob("*.safetensors")] == before
    assert Library(finished.home).find(done.style_name).id == done.style_id


def _killed_at(monkeypatch: pytest.MonkeyPatch, renamed: int, late: bool, run: Callable[[], object]) -> None:
    count = itertools.count()

    def replace(source: Any, target: Any) -> None:
        hit = next(count) == renamed
        if hit and not late:
            raise Killed
        rename(source, target)
        if hit:
            raise Killed

    rename = os.replace
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(os, "replace", replace)
        run()


def test_finishing_twice_writes_one_style(make_job: MakeJob, base: Base) -> None:
    job = make_job(Path("unused"))
    first = follow(job, base)[-1]
    again = list(train(job, base=base))[-1]  # killed between the style and the journal's last line
    assert again == first
    assert len(list(job.home.styles.glob("*.safetensors"))) == 1


def test_the_style_can_be_made_from_another_checkpoint_and_back(make_job: MakeJob, base: Base) -> None:
    job = make_job(Path("unused"))
    with pytest.raises(JobError, match="no style yet"):
        keep(job, 6)
    first = follow(job, base)[-1]
    assert isinstance(first, Finished) and choices(job) == [3, 6]
    library = Library(job.home)
    library.edit("blocks", author="Ada")
    chosen = keep(job, 3)
    assert (chosen.step, chosen.style_name, chosen.stopped) == (3, "blocks", False)
    card = library.find("blocks")
    assert card.id == chosen.style_id != first.style_id
    assert (card.training["steps"], card.author) == (3, "Ada")
    want = style_of(job, checkpoint.load(job.folder / "checkpoints" / "step-000003.safetensors"))
    assert card.thumbnail == want.card.thumbnail is not None
    assert library.trashed() == ["blocks"] and job.events()[-1] == chosen and job.state() == "finished"
    assert keep(job, 3) == chosen, "twice is once"

    library.delete("blocks")  # what the artist threw away stays away; the new one is a new one
    assert keep(job, 6).style_id == first.style_id == library.find("blocks").id
    with pytest.raises(JobError, match="step 5 is gone"):
        keep(job, 5)


def test_the_same_training_under_another_name_is_another_style(make_job: MakeJob, base: Base) -> None:
    first, second = (
        follow(make_job(Path("unused"), name=name, steps=2, preview_every=0), base)[-1]
        for name in ("one", "two")
    )
    assert isinstance(first, Finished) and isinstance(second, Finished)
    assert first.style_id == second.style_id
    assert (first.style_name, second.style_name) == ("one", "two")
    assert Path(second.style_path).name == "two.safetensors"


def test_captions_that_are_cut_off_are_told(make_job: MakeJob, base: Base, artworks: Path) -> None:
    job = make_job(Path("unused"))
    (job.folder / "artworks" / "000.txt").write_text("red " * 60 + "moon")
    notes = of(Warned, encode.prepare(base, job, job.plan, lambda: False))
    assert len(notes) == 1 and "1 of the captions" in notes[0].message and "moon" in notes[0].message


def test_artworks_that_have_gone_while_a_job_waited_are_told(make_job: MakeJob, base: Base) -> None:
    job = make_job(Path("unused"))
    (job.folder / "artworks" / "000.png").unlink()
    with pytest.raises(JobError, match="has lost its artworks"):
        list(encode.prepare(base, job, job.plan, lambda: False))


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_captions_are_read_as_prompts_are_and_all_as_long_as_the_longest(
    make_job: MakeJob, tiny_sd1: Path, tiny_sdxl: Path, family: str
) -> None:
    folder = {"sd1": tiny_sd1, "sdxl": tiny_sdxl}[family]
    preview = "a (moon:1.3)"
    job = make_job(folder, base_family=family, steps=1, preview_every=1, preview_prompts=(preview,))
    for number, caption in enumerate(("a red cat, " * 30, "a (red:1.4) house \\(old\\)")):
        (job.folder / "artworks" / f"00{number}.txt").write_text(caption)
    (job.folder / "artworks" / "002.txt").write_text("a [red|blue] boat")
    base = open_base(folder, job.home, device="cpu")
    events = follow(job, base)
    assert isinstance(events[-1], Finished) and of(PreviewReady, events)
    (warned,) = of(Warned, events)
    assert warned.message == "In the captions, “[red|blue]” is read as plain words."
    prepared, captions = encode.load(job), ["", *(artwork.caption for artwork in job.artworks())]
    assert prepared.captions.states.shape[1] == prepared.previews.states.shape[1] == 2 * 77
    for row, text in enumerate(captions):
        assert torch.equal(prepared.captions.states[row], encode_prompts(base, [text], chunks=2).states[0])
    assert torch.equal(prepared.previews.states, encode_prompts(base, [preview], chunks=2).states)
    # A plan of before reads each bracket as a letter, and as far as one chunk goes.
    values = json.loads(job.plan.to_json())
    del values["prompt_signs"], values["clip_skip"]
    older = TrainingPlan.from_json(json.dumps(values))
    (note,) = of(Warned, encode.prepare(base, job, older, lambda: False))
    assert "1 of the captions" in note.message
    plain = encode.load(job).captions.states
    assert plain.shape[1] == 77
    signs = PromptReading(signs=False)
    assert torch.equal(plain[2], encode_prompts(base, [captions[2]], reading=signs).states[0])


def test_a_caption_with_a_weight_that_is_none_is_refused_by_its_file(
    make_job: MakeJob, artworks: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "pictures"
    shutil.copytree(artworks, folder)
    first = sorted(folder.glob("*.png"))[0]
    first.with_suffix(".txt").write_text("a (red:1e9) cat")
    plan = make_job(Path("unused")).plan
    with pytest.raises(
        PictureError, match=rf"The caption of {first.name} can't be used: “red” has the weight"
    ):
        Job.create(tmp_path / "jobs", plan, [folder])
    with pytest.raises(PromptError, match="weight 50"):
        replace(plan, preview_prompts=("a (cat:50)",))


def test_companions_that_are_cut_off_are_told(make_job: MakeJob, base: Base) -> None:
    job = make_job(Path("unused"), companions=("a lantern " * 60,))
    (note,) = of(Warned, encode.prepare(base, job, job.plan, lambda: False))
    assert "1 of the captions" in note.message and "lantern" in note.message


def test_artworks_without_a_caption_are_shown_with_companions(make_job: MakeJob, base: Base) -> None:
    job = make_job(base.folder, steps=1, companions=("a house", "a boat"))
    follow(job, base)
    prepared = encode.load(job)
    rows = torch.cat([bucket.captions for bucket in prepared.buckets]).tolist()
    own = [number + 1 for number, artwork in enumerate(job.artworks()) if artwork.caption != "blocks"]
    assert sorted(rows) == [-1, -1, -1, *own] and prepared.companions == 2
    for row, text in ((-2, "blocks, a house"), (-1, "blocks, a boat")):
        assert torch.equal(prepared.captions.states[row], encode_prompts(base, [text]).states[0])
    alone = make_job(base.folder, steps=1, companions=())
    follow(alone, base)
    assert all(bool((bucket.captions > 0).all()) for bucket in encode.load(alone).buckets)


def test_a_finished_style_is_continued_from_its_weights(make_job: MakeJob, base: Base) -> None:
    first = make_job(Path("unused"))
    finished = follow(first, base)[-1]
    assert isinstance(finished, Finished)
    style = Library(first.home).open(finished.style_id)
    second = make_job(Path("unused"), name="blocks more", continue_from=finished.style_id, rank=4, alpha=8.0)
    events = train(second, base=base)
    for event in events:
        if isinstance(event, CheckpointSaved):
            break
    events.close()  # type: ignore[attr-defined]
    begun = checkpoint.latest(second.folder / "checkpoints")
    assert begun is not None and begun.progress.step == 0
    for layer, old in zip(
        style_layers(begun.weights, 8.0), sorted(style.layers, key=lambda layer: layer.path), strict=True
    ):
        assert layer.path == old.path
        assert torch.allclose(
            layer.scale * layer.up @ layer.down, old.scale * old.up.float() @ old.down.float(), atol=1e-6
        )
    gone = Library(first.home).delete(finished.style_id)  # the checkpoint holds all that the run needs
    assert follow(second, base)[-1].style_name == "blocks more"  # type: ignore[union-attr]
    gone.rename(style.card.path)
    assert Library(second.home).find("blocks more").training["continued_from"] == finished.style_id
    third = make_job(Path("unused"), name="smaller", continue_from=finished.style_id, rank=1)
    with pytest.raises(PlanError, match="rank 2"):
        follow(third, base)
    Library(first.home).delete(finished.style_id)  # while a job waits that would go on from it
    with pytest.raises(UnknownStyleError, match=f"“{style.name}” is in the trash"):
        follow(make_job(Path("unused"), name="late", continue_from=finished.style_id), base)


def test_changed_captions_are_encoded_again_and_unchanged_ones_are_not(make_job: MakeJob, base: Base) -> None:
    job = make_job(Path("unused"))
    plan, path = job.plan, job.folder / "prepared.safetensors"

    def prepared() -> bytes:
        list(encode.prepare(base, job, plan, lambda: False))
        return path.read_bytes()

    first = prepared()
    stamp = path.stat().st_mtime_ns
    assert prepared() == first and path.stat().st_mtime_ns == stamp
    (job.folder / "artworks" / "000.txt").write_text("a moon")
    assert prepared() != first
    data = encode.load(job)
    assert sorted(len(bucket.mean) for bucket in data.buckets) == [1, 3]  # the wide one by itself
    assert len(data.captions) - data.companions == 5
    assert torch.equal(data.captions.states[3], data.captions.states[4])  # the same made caption


def test_the_journal_is_plain_json_lines(make_job: MakeJob, base: Base) -> None:
    job = make_job(Path("unused"), steps=2, preview_every=0)
    follow(job, base)
    for line in job.journal.read_text(encoding="utf-8").splitlines():
        assert json.loads(line)["event"]
