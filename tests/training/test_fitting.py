"""What a training step takes is known, and the plan is made to fit what is free."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from styles.bases.base import Base, open_base
from styles.bases.working_memory import weight_bytes
from styles.errors import OutOfMemory
from styles.quantization.layers import saved_bytes
from styles.quantization.quantization import PLAIN, QUANTIZATIONS, quantization_of
from styles.storage.home import Home
from tests.accelerator.counting import count_training_step, meta_unet, quantize_meta, unet_config
from tests.benchmarks.training_memory import CARDS_GB, NATIVE_PX, OnCard, fits, on_card
from tests.styles.distilled import BK_SMALL, VEGA
from tests.styles.out_of_memory import MEMORY_FULL
from training import fitting
from training.adapters import adapted
from training.checkpoint import latest
from training.encode import prepare
from training.events import CheckpointSaved, Finished, MemoryFitted, StepDone, TrainingEvent, Warned
from training.fitting import fit, has_room, less, needed_bytes, splits
from training.job import Job
from training.loop import train
from training.plan import TrainingPlan, plan_for
from training.step_memory import score_bytes, step_bytes
from training.trainer import begin

from .conftest import small_plan

MakeJob = Callable[..., Job]
# By what is free of a card of so many GB: batch x accumulation, with the base as it is and as NF4.
FITS = {
    4: (
        ("2 x 2, checkpointing", "1 x 4"),
        ("1 x 4, checkpointing", "2 x 2, checkpointing"),
        ("refused", "1 x 4, checkpointing"),
    ),
    6: (("2 x 2", "2 x 2"), ("1 x 4", "1 x 4"), ("refused", "2 x 2, checkpointing")),
    8: (("4 x 1", "4 x 1"), ("1 x 4", "2 x 2"), ("2 x 2, checkpointing", "4 x 1, checkpointing")),
    12: (("4 x 1", "4 x 1"), ("2 x 2", "2 x 2"), ("4 x 1, checkpointing", "1 x 4")),
    16: (("4 x 1", "4 x 1"), ("4 x 1", "4 x 1"), ("1 x 4", "1 x 4")),
    24: (("4 x 1", "4 x 1"), ("4 x 1", "4 x 1"), ("2 x 2", "2 x 2")),
}


@pytest.fixture(scope="module")
def base(tiny_base: Path) -> Base:
    return open_base(tiny_base, Home(tiny_base.parent), device="cpu")


@pytest.fixture(scope="module")
def cards() -> dict[str, OnCard]:
    return {family: on_card(family) for family in NATIVE_PX}


def a_plan(family: str, **numbers: Any) -> TrainingPlan:
    rank = numbers.get("rank", 8)
    return TrainingPlan(name="fit", base_family=family, **{"alpha": float(rank), "batch": 1, **numbers})


@pytest.mark.parametrize(
    ("family", "structure", "side_px", "numbers", "dtype", "quantize"),
    [
        ("sd1", {}, 512, {}, torch.bfloat16, PLAIN),
        ("sd1", BK_SMALL, 384, {"layers": "transformer", "batch": 2}, torch.float32, "qa4-32"),
        ("sd2", {}, 768, {"layers": "cross+self", "rank": 32}, torch.bfloat16, PLAIN),
        ("sdxl", {}, 1024, {"gradient_checkpointing": True, "rank": 64}, torch.bfloat16, "nf4"),
        ("sdxl", VEGA, 768, {"layers": "transformer", "gradient_accumulation": 2}, torch.bfloat16, PLAIN),
    ],
)
def test_bytes_of_a_step_are_those_that_are_counted(
    family: str,
    structure: dict[str, Any],
    side_px: int,
    numbers: dict[str, Any],
    dtype: torch.dtype,
    quantize: str,
) -> None:
    plan, config = a_plan(family, **numbers), unet_config(family) | structure
    counted = count_training_step(config, plan, side_px, dtype, quantize).peak_bytes
    unet, way = meta_unet(config, dtype), quantization_of(quantize)
    if way is not None:
        ahead = step_bytes(unet, plan, side_px, 8) - saved_bytes(unet, way)
        # Over groups layers in training keep less, too.
        assert ahead == pytest.approx(counted, rel=0.04) or (ahead > counted and way.is_grouped)
        quantize_meta(unet, quantize)
    assert step_bytes(unet, plan, side_px, 8) == pytest.approx(counted, rel=0.04)


def test_bytes_of_bases_in_four_bits(cards: dict[str, OnCard]) -> None:
    seen = {family: (weight_bytes(card.unet), nf4_bytes(card.unet)) for family, card in cards.items()}
    gigabytes = {family: tuple(round(size / 1e9, 2) for size in sizes) for family, sizes in seen.items()}
    assert gigabytes == {"sd1": (1.72, 1.32), "sd2": (1.73, 1.28), "sdxl": (5.13, 1.82)}


def nf4_bytes(unet: Any) -> int:
    return weight_bytes(unet) - saved_bytes(unet, QUANTIZATIONS["nf4"])


def test_each_family_fits_each_card(cards: dict[str, OnCard]) -> None:
    seen = {card: tuple(fits(base, family, card) for family, base in cards.items()) for card in CARDS_GB}
    assert seen == FITS


def test_the_pictures_of_a_step_stay_and_the_largest_batch_is_taken(cards: dict[str, OnCard]) -> None:
    plan = a_plan("sd1", batch=6, gradient_accumulation=2)
    tried = [(way.batch, way.gradient_accumulation, way.gradient_checkpointing) for way in splits(plan)]
    expected = [(6, 2), (4, 3), (3, 4), (2, 6), (1, 12)]
    assert tried == [(*one, checkpointing) for checkpointing in (False, True) for one in expected]
    needed = [needed_bytes(cards["sd1"], way) for way in splits(plan)]  # type: ignore[arg-type]
    assert needed[:5] == sorted(needed[:5], reverse=True) and needed[5:] == sorted(needed[5:], reverse=True)
    for way, size in zip(splits(plan), needed, strict=True):
        assert fit(plan, lambda one: needed_bytes(cards["sd1"], one), size - 1) != way  # type: ignore[arg-type]
    assert all(way.gradient_checkpointing for way in splits(replace(plan, gradient_checkpointing=True)))


def test_attention_that_keeps_its_scores_takes_as_many_bytes_as_there_are(cards: dict[str, OnCard]) -> None:
    unet, levels = cards["sd1"].unet, (5 * 4096**2, 5 * 1024**2, 5 * 256**2, 64**2)
    scores = 8 * (sum(levels) + 4096**2)
    assert score_bytes(unet, a_plan("sd1"), 512, 8) == 2 * scores
    assert score_bytes(unet, a_plan("sd1", batch=3), 512, 8) == 6 * scores
    assert score_bytes(unet, a_plan("sd1", gradient_checkpointing=True), 512, 8) == 6 * 8 * 4096**2


def opened_on_card(card: OnCard) -> Any:
    """What fitting asks of a base whose UNet alone lies on a card."""
    return SimpleNamespace(
        **asdict(replace(card, unet=None)) | {"unet": card.unet},
        vae=torch.nn.Identity(), text_encoders=(), name="a base", quantize=PLAIN,
    )  # fmt: skip


def test_a_card_with_room_is_noted_and_one_without_is_told_what_would_fit(
    cards: dict[str, OnCard], monkeypatch: pytest.MonkeyPatch
) -> None:
    base, plan = opened_on_card(cards["sdxl"]), plan_for("thorough", "sdxl", 8, name="x")
    unet_bytes = sum(value.nbytes for value in base.unet.parameters())
    monkeypatch.setattr("styles.devices.memory.free_bytes", lambda device: 80 * 10**9 - unet_bytes)
    chosen, said = fitting.fit_to(base, plan, None)
    assert chosen == plan and said is not None and not said.reason
    assert said.free_bytes == 80 * 10**9 > said.needed_bytes > 38 * 10**9
    monkeypatch.setattr("styles.devices.memory.free_bytes", lambda device: int(6.5e9) - unet_bytes)
    with pytest.raises(OutOfMemory, match=r"6\.5 GB are free") as caught:
        fitting.fit_to(base, plan, None)
    assert "a resolution of 768 px" in caught.value.hint and "a lower rank" in caught.value.hint
    for side, fitting_px in ((768, True), (896, False)):
        smaller = fit(replace(plan, resolution_px=side), lambda way: needed_bytes(base, way), int(6.5e9))
        assert (smaller is not None) == fitting_px


def test_after_a_step_that_ran_out_half_as_many_are_looked_at_then_checkpointing_comes() -> None:
    plan, seen = a_plan("sd1", batch=4), []
    while (smaller := less(plan)) is not None:
        plan = smaller
        seen.append((plan.batch, plan.gradient_accumulation, plan.gradient_checkpointing))
    assert seen == [(2, 2, False), (1, 4, False), (1, 4, True)]


def follow(job: Job, base: Base) -> list[TrainingEvent]:
    events = []
    for event in train(job, base=base):
        job.append(event)
        events.append(event)
    return events


def of(kind: type, events: list[TrainingEvent]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def let_free(monkeypatch: pytest.MonkeyPatch, bytes_free: int) -> None:
    """Tell so many bytes free, those that the base lies in among them."""
    monkeypatch.setattr("styles.devices.memory.free_bytes", lambda device: bytes_free)
    monkeypatch.setattr(fitting, "needed_bytes", lambda base, plan, *_: needs(plan))


def needs(plan: TrainingPlan) -> int:
    """Ten gigabytes a picture, which tiny bases don't have."""
    return plan.batch * 10**10 // (1 + plan.gradient_checkpointing)


def test_a_run_takes_what_fits_says_so_and_keeps_it(
    make_job: MakeJob, base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_free(monkeypatch, 12 * 10**9)
    job = make_job(Path("unused"), preview_every=0)
    for event in train(job, base=base):
        job.append(event)
        if isinstance(event, StepDone):
            job.request("pause")
    (said,) = of(MemoryFitted, job.events())
    assert (said.batch, said.gradient_accumulation, said.gradient_checkpointing) == (1, 2, False)
    assert said.needed_bytes == 10**10 and "batches of 1" in said.reason and "20.0 GB" in said.reason

    # With room again it goes on as it began, so that the bits stay.
    let_free(monkeypatch, 10**12)
    events = follow(job, base)
    assert not of(Warned, events) and isinstance(events[-1], Finished)
    assert of(MemoryFitted, events) == []
    # A whole run with the same split ends in the same style.
    let_free(monkeypatch, 12 * 10**9)
    whole = follow(make_job(Path("unused"), preview_every=0), base)[-1]
    assert isinstance(whole, Finished) and whole.style_id == events[-1].style_id


def test_a_run_that_goes_on_with_less_room_says_what_that_means(
    make_job: MakeJob, base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(Path("unused"), preview_every=0)
    for event in train(job, base=base):
        if isinstance(event, StepDone):
            job.request("pause")
    let_free(monkeypatch, 6 * 10**9)
    events = follow(job, base)
    assert [event.gradient_checkpointing for event in of(MemoryFitted, events)] == [True]
    (warned,) = of(Warned, events)
    assert "batch 2 x 1 -> 1 x 2 checkpointed" in warned.message and "as good" in warned.hint


def test_torch_is_held_to_what_is_free_before_a_base_is_opened(
    make_job: MakeJob, tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened: list[str] = []
    monkeypatch.setattr("training.loop.limit_memory", lambda device: happened.append(f"limit {device}"))
    monkeypatch.setattr("training.loop.open_base", lambda *_, **__: happened.append("open"))
    with pytest.raises(AttributeError):
        list(train(make_job(tiny_base), device="cpu"))
    assert happened == ["limit cpu", "open"]


def test_what_fits_in_no_way_is_refused_before_anything_is_made(
    make_job: MakeJob, base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_free(monkeypatch, 10**9)
    job = make_job(Path("unused"), rank=16)
    with pytest.raises(OutOfMemory, match=r"needs 5\.0 GB .* 1\.\d GB are free") as caught:
        list(train(job, base=base))
    assert "Close other programs" in caught.value.hint and "lower rank" in caught.value.hint
    assert not (job.folder / "prepared.safetensors").exists()
    monkeypatch.undo()
    assert isinstance(follow(job, base)[-1], Finished)


class Full:
    """Lets a UNet run out of memory in some of its forward passes."""

    def __init__(self, base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left, self.passes = 0, 0
        forward = type(base.unet).forward

        def forward_or_full(unet: Any, *args: Any, **kwargs: Any) -> Any:
            if torch.is_grad_enabled():
                self.passes += 1
                if self.left:
                    self.left -= 1
                    raise MEMORY_FULL["wrapped"]
            return forward(unet, *args, **kwargs)

        monkeypatch.setattr(type(base.unet), "forward", forward_or_full)


def test_memory_that_shrinks_in_the_middle_loses_nothing(
    make_job: MakeJob, base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = {"batch": 4, "preview_every": 0, "opposite_every": 2}
    whole = follow(make_job(Path("unused"), **numbers), base)
    full = Full(base, monkeypatch)
    job, events = make_job(Path("unused"), **numbers), []
    for event in train(job, base=base):
        events.append(event)
        if isinstance(event, StepDone) and event.step == 2:
            full.left = 2
    said = of(MemoryFitted, events)
    assert [(one.batch, one.gradient_accumulation) for one in said] == [(2, 2), (1, 4)]
    assert "after step 2" in said[0].reason and "learns the same" in said[0].reason
    # The same pictures with the same noise: the losses differ by rounding alone.
    losses = [[event.loss for event in of(StepDone, run)] for run in (whole, events)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    assert isinstance(events[-1], Finished) and events[-1].step == 6
    last = latest(job.folder / "checkpoints")
    assert last is not None and last.progress.split == (1, 4, False), "who goes on takes as few"


def test_a_step_that_runs_out_after_its_gradients_were_unscaled_is_taken_once_more(
    make_job: MakeJob, base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(Path("unused"))
    assert list(prepare(base, job, job.plan, lambda: False))
    with adapted(base.unet, job.plan) as weights:
        trainer = begin(job, job.plan, base, weights)
        try:
            scaler, errors = torch.amp.GradScaler("cpu"), [MEMORY_FULL["cuda"]]

            def unscale(*_: Any) -> None:
                scaler.unscale_(trainer.optimizer.optimizer)
                if errors:
                    raise errors.pop()

            monkeypatch.setattr(trainer.accelerator, "scaler", scaler)
            monkeypatch.setattr(trainer.accelerator, "clip_grad_norm_", unscale)
            assert not has_room(trainer.take_step) and trainer.progress.step == 0
            assert has_room(trainer.take_step) and trainer.progress.step == 1
        finally:
            trainer.close()


def test_a_first_step_that_runs_out_in_the_optimizer_is_taken_once_more(
    make_job: MakeJob, base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(Path("unused"), preview_every=0, steps=2)
    whole = follow(job, base)
    make, left = torch.zeros_like, [4]

    def full(*values: Any, **settings: Any) -> Any:
        left[0] -= 1
        if left[0] == 0:
            # Of the second weight there is the one mean by now, and not the other.
            assert sum(len(state) == 2 for state in states) == 1
            raise MEMORY_FULL["cuda"]
        return make(*values, **settings)

    states: Any = ()
    started = torch.optim.AdamW.step

    def step(optimizer: Any, *_: Any) -> Any:
        nonlocal states
        states = optimizer.state.values()
        with monkeypatch.context() as patch:
            patch.setattr(torch, "zeros_like", full)
            return started(optimizer)

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    events = follow(make_job(Path("unused"), preview_every=0, steps=2), base)
    assert len(of(MemoryFitted, events)) == 1 and isinstance(events[-1], Finished)
    losses = [[event.loss for event in of(StepDone, run)] for run in (whole, events)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_a_memory_that_stays_full_keeps_what_was_learnt(
    make_job: MakeJob, base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = Full(base, monkeypatch)
    job, events = make_job(Path("unused"), preview_every=0, checkpoint_every=100, steps=9), []
    with pytest.raises(OutOfMemory, match="one picture at a time") as caught:
        for event in train(job, base=base):
            job.append(event)
            events.append(event)
            if isinstance(event, StepDone) and event.step == 6:
                full.left = 99
    assert "resume the training" in caught.value.hint
    assert [one.gradient_checkpointing for one in of(MemoryFitted, events)] == [False, True]
    assert base.unet.is_gradient_checkpointing
    assert of(CheckpointSaved, events)[-1].step == 6, "which is no milestone"
    monkeypatch.undo()
    assert isinstance(follow(job, base)[-1], Finished)


def test_a_preview_without_memory_is_left_out(
    make_job: MakeJob, base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    def painted(*_: Any) -> None:
        raise MEMORY_FULL["wrapped"]

    monkeypatch.setattr("training.loop.paint_previews", painted)
    events = follow(make_job(Path("unused")), base)
    assert ["preview" in warned.message for warned in of(Warned, events)] == [True] * 3
    assert isinstance(events[-1], Finished)


def test_unknown_memory_changes_nothing(base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = small_plan(Path("unused"))
    monkeypatch.setattr("styles.devices.memory.free_bytes", lambda device: None)
    assert fitting.fit_to(base, plan, None) == (plan, None)
