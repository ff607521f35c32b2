"""A training opens its base in four bits where only that fits, and goes on so."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from styles.bases.base import open_base
from styles.bases.base_settings import BaseSettings
from styles.bases.shelf import BaseShelf
from styles.bases.working_memory import weight_bytes
from styles.errors import OutOfMemory, SettingsError, TrainingFailed
from styles.formats.reader import read_style
from styles.formats.safetensors_header import open_header
from styles.quantization import support
from styles.quantization.quantization import PLAIN, QUANTIZATIONS
from styles.storage.home import Home
from training import opening
from training.checkpoint import latest
from training.events import Finished, MemoryFitted, StepDone, TrainingEvent
from training.fitting import least_bytes
from training.job import Job
from training.loop import train
from training.opening import how_to_open
from training.placement import Placement, placed

from .conftest import small_plan

MakeJob = Callable[..., Job]


def let_free_less_than_plain(folder: Path, home: Home, monkeypatch: pytest.MonkeyPatch, share: float) -> int:
    """Let so much be free as a training needs in four bits (0) or as the base is (1), or between them."""
    base, plan = open_base(folder, home, device="cpu"), small_plan(folder)
    plain = least_bytes(base, plan)
    smallest = least_bytes(base, plan, QUANTIZATIONS["nf4"])
    assert smallest < plain
    free = int(smallest + share * (plain - smallest))
    free += weight_bytes(base.vae)
    monkeypatch.setattr("styles.devices.memory.free_bytes", lambda device: free)
    return free


def of(kind: type, events: list[TrainingEvent]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def test_what_fits_in_four_bits_alone_is_trained_so_says_so_and_goes_on_so(
    make_job: MakeJob, tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(tiny_base, preview_every=0)
    let_free_less_than_plain(tiny_base, job.home, monkeypatch, 0.5)
    for event in train(job, device="cpu"):
        job.append(event)
        if isinstance(event, StepDone):
            job.request("pause")
    (said,) = of(MemoryFitted, job.events())
    assert said.quantize == "nf4" and said.needed_bytes <= said.free_bytes
    assert "in four bits as NF4" in said.reason
    begun = latest(job.folder / "checkpoints")
    assert begun is not None and begun.progress.quantize == "nf4"
    assert begun.progress.environment["base"].startswith("nf4 bitsandbytes-")

    # Without what it needs: what is advised helps this training.
    with monkeypatch.context() as patch:
        patch.setattr(importlib.util, "find_spec", lambda name: None)
        with pytest.raises(SettingsError, match="needs the package bitsandbytes") as missing:
            list(train(job, device="cpu"))
    assert "setup --nf4" in missing.value.hint and "this training goes on" in missing.value.hint
    with monkeypatch.context() as patch:
        patch.setattr(support, "_failure", lambda name, device: "no kernel image")
        with pytest.raises(SettingsError, match="no kernel image") as broken:
            list(train(job, device="cpu"))
    assert "another device" in broken.value.hint
    # With room again, and with a base whose settings say otherwise.
    monkeypatch.undo()
    opened = open_base(tiny_base, job.home, device="cpu")
    with pytest.raises(
        TrainingFailed, match=r"began with .* in four bits as NF4, and now it is opened as it is"
    ):
        list(train(job, base=opened))
    BaseShelf(job.home).add(tiny_base, settings=BaseSettings(quantize=PLAIN))
    events = list(train(job, device="cpu"))
    assert isinstance(events[-1], Finished)
    last = latest(job.folder / "checkpoints")
    assert last is not None and last.progress.quantize == "nf4" and last.progress.step == job.plan.steps
    # On its card, and for other programs.
    assert read_style(job.folder / "style.safetensors").card.training["quantize"] == "nf4"
    assert open_header(job.folder / "style.safetensors").metadata["ss_base_quantize"] == "nf4"


def test_nothing_is_chosen_where_there_is_room_or_something_was_said(
    tiny_base: Path, home_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, place = Home(home_folder).create(), placed("cpu", "fp32")
    plan = small_plan(tiny_base)
    let_free_less_than_plain(tiny_base, home, monkeypatch, 0.5)
    assert how_to_open(plan, home, place)[0] == "nf4"
    for said in (PLAIN, "qa4-16"):
        assert how_to_open(replace(plan, quantize=said), home, place) == (said, "")
    shelf = BaseShelf(home)
    named = replace(plan, base=shelf.add(tiny_base, settings=BaseSettings(quantize="qa4-32")).name)
    assert how_to_open(named, home, place) == (None, "")
    shelf.keep_as(named.base, PLAIN)
    assert how_to_open(named, home, place)[0] == "nf4"
    let_free_less_than_plain(tiny_base, home, monkeypatch, 1)
    assert how_to_open(plan, home, place) == (None, "")
    monkeypatch.setattr("styles.devices.memory.free_bytes", lambda device: None)
    assert how_to_open(plan, home, place) == (None, "")


def test_what_would_fit_is_told_where_bitsandbytes_is_missing_or_does_not_work(
    tiny_base: Path, home_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, place = Home(home_folder).create(), placed("cpu", "fp32")
    let_free_less_than_plain(tiny_base, home, monkeypatch, 0.5)
    with monkeypatch.context() as patch:
        patch.setattr(importlib.util, "find_spec", lambda name: None)
        with pytest.raises(OutOfMemory, match="needs the package bitsandbytes") as caught:
            how_to_open(small_plan(tiny_base), home, place)
    assert "Install it" in caught.value.hint and "qa4-32" in caught.value.hint
    with monkeypatch.context() as patch:
        patch.setattr(support, "_failure", lambda name, device: "no kernel image")
        with pytest.raises(OutOfMemory, match=r"bitsandbytes can't .* \(no kernel image\)") as caught:
            how_to_open(small_plan(tiny_base), home, place)
    assert "qa4-32" in caught.value.hint
    # What fits in no way is refused with the least that it needs.
    let_free_less_than_plain(tiny_base, home, monkeypatch, -0.5)
    with pytest.raises(OutOfMemory, match="at the least"):
        how_to_open(small_plan(tiny_base), home, place)


def test_a_card_has_no_room_for_the_vae_kept_free(tiny_base: Path) -> None:
    from styles.bases.files.inspection import inspect_base

    facts = inspect_base(tiny_base)
    card = Placement(torch.device("cuda"), torch.float16)
    assert opening._vae_bytes(facts, card) == 0 < opening._vae_bytes(facts, placed("cpu", "fp32"))
