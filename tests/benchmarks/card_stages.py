"""What `tests.benchmarks.card` asks of a device: memory beside what is counted, mixing, training, compiling.

Each stage yields its rows. At full size models have the shapes of Stable Diffusion 1.5, 2.1 and XL and random weights,
made where they are used; else widths of 32 in the same structure, so that a CPU goes through all of it in seconds.
"""

from __future__ import annotations

import gc
import statistics
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from styles.bases.base import Base, open_base
from styles.bases.compiled_blocks import CompiledBlocks
from styles.bases.conditioning import Conditioning
from styles.bases.prediction import predict
from styles.devices.device import device_for, wait_for
from styles.devices.memory import give_back
from styles.devices.precision import pick_dtype
from styles.errors import is_out_of_memory
from styles.formats.style import Style
from styles.mixing.model_patcher import blended
from styles.storage.home import Home
from tests.accelerator.counting import (
    CONFIGS,
    count_painting_step,
    count_training_step,
    meta_inputs,
    meta_unet,
    unet_config,
)
from tests.accelerator.painting_stages import SIDES_PX, MetaBase, kohya_style, peak_bytes
from tests.benchmarks.example_loop import example_loop
from tests.benchmarks.pairs import seconds_of
from tests.styles.making import PlainBase
from tests.tiny import tiny_base_folder
from tests.training.conftest import picture
from training import encode
from training.adapters import adapted
from training.job import Job
from training.optimizers import OPTIMIZERS
from training.plan import TrainingPlan, plan_for
from training.trainer import begin

SMALL_PX = 128
# As much as any card has.
MERGED_BYTES = 10**12
BATCH = 2  # of the training
SMALL_UNET = {"layers_per_block": 1, "attention_head_dim": 4, "transformer_layers_per_block": 1}


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    stage: str
    figure: str
    seen: str
    # What was counted, or what it is compared with.
    beside: str = ""


@dataclass(frozen=True)
class Work:
    """Where and at which size to measure."""

    device: torch.device
    dtype: torch.dtype
    full: bool

    @classmethod
    def on(cls, device: str, full: bool) -> Work:
        chosen = device_for(device)
        return cls(chosen, pick_dtype(chosen) if full else torch.float32, full)

    @property
    def turns(self) -> int:
        """How often a step is timed."""
        return 15 if self.full else 2

    def side_px(self, family: str) -> int:
        return SIDES_PX[family] if self.full else SMALL_PX

    def unet_config(self, family: str) -> dict[str, Any]:
        config = unet_config(family)
        if not self.full:
            config |= SMALL_UNET | {"block_out_channels": (32,) * len(config["block_out_channels"])}
        return config

    def unet(self, family: str) -> Any:
        """A UNet of random weights, in half precision and on the device from the start."""
        from diffusers import UNet2DConditionModel

        return self._made(lambda: UNet2DConditionModel.from_config(self.unet_config(family)))

    def vae(self, family: str, *, meta: bool = False) -> Any:
        from diffusers import AutoencoderKL

        config = AutoencoderKL.load_config(CONFIGS / family / "vae")
        if not self.full:
            config |= {"block_out_channels": (32,) * 4, "layers_per_block": 1}
        return self._made(lambda: AutoencoderKL.from_config(config), meta)

    def _made(self, make: Callable[[], Any], meta: bool = False) -> Any:
        usual = torch.get_default_dtype()
        torch.set_default_dtype(self.dtype)
        try:
            with torch.device("meta") if meta else self.device:
                return make().eval().requires_grad_(False)
        finally:
            torch.set_default_dtype(usual)

    def inputs(self, unet: Any, family: str, rows: int) -> tuple[Tensor, Tensor, Conditioning]:
        """What a UNet is called with for one picture, in numbers."""
        side_px = self.side_px(family)
        latents, _, conditioning = meta_inputs(unet, 1, side_px, side_px, self.dtype, rows)

        def drawn(shape: Tensor) -> Tensor:
            return torch.randn(shape.shape, device=self.device).to(shape.dtype)

        parts = (conditioning.states, conditioning.pooled, conditioning.time_ids)
        filled = [None if part is None else drawn(part) for part in parts]
        assert filled[0] is not None
        timestep = torch.tensor(500, device=self.device)
        return drawn(latents), timestep, Conditioning(filled[0], filled[1], filled[2])

    def seconds(self, action: Callable[[], object]) -> float:
        """The median of a call, to the end of the device's work."""
        action()
        return statistics.median(seconds_of(action, self.device) for _ in range(self.turns))

    def peak(self, action: Callable[[], object]) -> int | None:
        """The most bytes of tensors during a call; None where the device doesn't tell."""
        give_back(self.device)
        try:
            torch.accelerator.reset_peak_memory_stats(self.device)
            action()
            wait_for(self.device)
            return torch.accelerator.max_memory_allocated(self.device) or None
        except (NotImplementedError, AttributeError, RuntimeError) as error:
            if is_out_of_memory(error) or self.device.type == "cuda":
                raise
            action()
            return None


def memory(work: Work) -> Iterator[Row]:
    """The peak of a training step, of a painting step and of a decode of each family, beside what is counted."""
    for family in SIDES_PX if work.full else ("sdxl",):
        for batch, checkpointing in ((1, True), (1, False), (4, False)):
            if family != "sdxl" or batch == 1:  # else 30 GB and more
                plan = TrainingPlan(
                    name="count", base_family=family, batch=batch, gradient_checkpointing=checkpointing
                )
                yield _of_training(work, plan)
        yield _of_painting(work, family)
        yield _of_decoding(work, family)


def _of_training(work: Work, plan: TrainingPlan) -> Row:
    family = plan.base_family
    side_px = work.side_px(family)
    counted = count_training_step(work.unet_config(family), plan, side_px, work.dtype).peak_bytes
    name = f"{family} {side_px} px, training, batch {plan.batch}"
    name += ", checkpointing" * plan.gradient_checkpointing
    return _bytes_row(name, lambda: _training_peak(work, plan), counted)


def _of_painting(work: Work, family: str) -> Row:
    side_px = work.side_px(family)
    unet = meta_unet(work.unet_config(family), work.dtype)
    counted = count_painting_step(unet, side_px, side_px, work.dtype).peak_bytes
    name = f"{family} {side_px} px, painting with guidance"
    return _bytes_row(name, lambda: _painting_peak(work, family), counted)


def _of_decoding(work: Work, family: str) -> Row:
    side_px = work.side_px(family)
    vae = work.vae(family, meta=True)
    latents = torch.empty(1, 4, side_px // 8, side_px // 8, dtype=work.dtype, device="meta")
    with torch.no_grad():
        counted = peak_bytes(lambda: vae.decode(latents), [*vae.parameters(), latents])
    return _bytes_row(f"{family} {side_px} px, decoding", lambda: _decoding_peak(work, family), counted)


def _bytes_row(figure: str, measure: Callable[[], int | None], counted: int) -> Row:
    words = f"{counted / 1e9:.2f} GB counted"
    try:
        seen = measure()
    except Exception as error:
        gc.collect()
        if not is_out_of_memory(error):
            raise
        return Row("memory", figure, "out of memory", words)
    if seen is None:
        return Row("memory", figure, "not told by this device", words)
    return Row("memory", figure, f"{seen / 1e9:.2f} GB", f"{words}, {seen / counted:.3f} of it")


def _training_peak(work: Work, plan: TrainingPlan) -> int | None:
    unet = work.unet(plan.base_family)
    if plan.gradient_checkpointing:
        unet.enable_gradient_checkpointing()
    inputs, timestep, conditioning = work.inputs(unet, plan.base_family, 1)
    inputs = inputs.repeat(plan.batch, 1, 1, 1)
    conditioning = Conditioning.cat([conditioning] * plan.batch)
    target = torch.randn(inputs.shape, device=work.device)
    half = work.dtype != torch.float32
    with adapted(unet, plan) as weights:
        unet.train()
        optimizer = OPTIMIZERS[plan.optimizer](list(weights.values()), plan)

        def step() -> None:
            with torch.autocast(work.device.type, work.dtype, enabled=half):
                predicted = predict(unet, inputs, timestep, conditioning)
            (predicted - target).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()

        step()  # the optimizer's states are there from the second on, as they are counted
        return work.peak(step)


@torch.no_grad()
def _painting_peak(work: Work, family: str) -> int | None:
    unet = work.unet(family)
    inputs, timestep, conditioning = work.inputs(unet, family, 2)
    return work.peak(lambda: predict(unet, inputs, timestep, conditioning, 7.0))


@torch.no_grad()
def _decoding_peak(work: Work, family: str) -> int | None:
    vae, side = work.vae(family), work.side_px(family) // 8
    latents = torch.randn(1, 4, side, side, device=work.device).to(work.dtype)
    return work.peak(lambda: vae.decode(latents))


def blend(work: Work) -> Iterator[Row]:
    """A guided step with four kohya styles of rank 32 over one without, by their ranks and merged into weights."""
    for family in ("sd1", "sdxl") if work.full else ("sd1",):
        yield from _blend_of(work, family)
        give_back(work.device)


@torch.no_grad()
def _blend_of(work: Work, family: str) -> Iterator[Row]:
    unet = work.unet(family)
    inputs, timestep, conditioning = work.inputs(unet, family, 2)
    styles = [_filled(kohya_style(_meta_base(work, family), 32, number), number) for number in range(4)]

    def step() -> None:
        predict(unet, inputs, timestep, conditioning, 7.0)

    plain, taken, merged_bytes = work.seconds(step), {}, 0
    with blended(PlainBase(unet, family), styles) as mix:

        def moved() -> None:
            mix.set_gains([float(torch.rand(())) for _ in styles])
            step()

        for way, budget_bytes in (("ranks", 0), ("merged", MERGED_BYTES)):
            mix.set_gains([0.5, 0.6, 0.7, 0.8])
            mix.allow_merging(budget_bytes)
            mix.prompt(conditioning.states)
            taken[way] = work.seconds(step)
        merged_bytes = mix.merged_bytes
        anew = work.seconds(moved) - taken["merged"]
    plain = (plain + work.seconds(step)) / 2
    beside = f"a step without styles {plain * 1000:.1f} ms"
    step_of = f"{family} {work.side_px(family)} px, a guided step with four styles of rank 32"
    yield Row("blend", f"{step_of}, by their ranks", f"{taken['ranks'] / plain:.3f}", beside)
    merged = f"{step_of}, merged into {merged_bytes / 1e9:.2f} GB"
    yield Row("blend", merged, f"{taken['merged'] / plain:.3f}", beside)
    yield Row("blend", f"{family}, the weights made anew for a slider", f"{anew * 1000:.1f} ms", beside)


def _meta_base(work: Work, family: str) -> MetaBase:
    """A base to make styles for, whose text encoders have no layers."""
    unet = meta_unet(work.unet_config(family), work.dtype)
    return MetaBase(unet, family, tuple(torch.nn.Module() for _ in range(2 if family == "sdxl" else 1)))


def _filled(style: Style, seed: int) -> Style:
    """The style with numbers that change each layer by about a fifth of a weight as torch draws it."""
    generator = torch.Generator().manual_seed(seed)
    layers = tuple(
        replace(
            layer,
            down=(torch.randn(layer.down.shape, generator=generator) / layer.down[0].numel() ** 0.5).half(),
            up=(torch.randn(layer.up.shape, generator=generator) * 0.02).half(),
            alpha=float(layer.rank),
        )
        for layer in style.layers
    )
    return Style(style.card, layers)


def training(work: Work) -> Iterator[Row]:
    """Our loop's step over one of diffusers' example loop, on the same base, pictures and batch."""
    from accelerate.state import AcceleratorState

    with tempfile.TemporaryDirectory() as scratch:
        base = _opened(work, Path(scratch))
        ours = _our_step_seconds(work, base, Path(scratch))
        give_back(work.device)
        pictures = torch.randn(BATCH, 3, base.native_size_px, base.native_size_px)
        theirs = work.seconds(example_loop(base, pictures, ["a red cat"] * BATCH))
        AcceleratorState._reset_state(reset_partial_state=True)
    figure = f"sd1 {base.native_size_px} px, batch {BATCH}: a step over one of diffusers' example"
    yield Row(
        "training",
        figure,
        f"{ours / theirs:.3f}",
        f"{ours * 1000:.0f} and {theirs * 1000:.0f} ms, losses read",
    )


def _opened(work: Work, scratch: Path) -> Base:
    """A base with the UNet, the VAE and the text encoder of Stable Diffusion 1.5; its vocabulary is small."""
    from transformers import CLIPTextConfig, CLIPTextModel

    base = open_base(
        tiny_base_folder(scratch / "base", "sd1"), Home(scratch / "home").create(), device=work.device,
        dtype=work.dtype, safety_checker=False,
    )  # fmt: skip
    if not work.full:
        return base
    config = CLIPTextConfig.from_pretrained(CONFIGS / "sd1" / "text_encoder")
    own = base.text_encoders[0].config
    for name in ("vocab_size", "bos_token_id", "eos_token_id", "pad_token_id"):
        setattr(config, name, getattr(own, name))
    encoder = work._made(lambda: CLIPTextModel(config))
    return replace(
        base, unet=work.unet("sd1"), vae=work.vae("sd1"), text_encoders=(encoder,), native_size_px=SIDES_PX["sd1"]
    )  # fmt: skip


def _our_step_seconds(work: Work, base: Base, scratch: Path) -> float:
    for number in range(2 * BATCH):
        picture(base.native_size_px, base.native_size_px, seed=number).save(scratch / f"{number}.png")
    plan = plan_for(
        "balanced", "sd1", 2 * BATCH, name="card", base=str(base.folder), batch=BATCH, gradient_accumulation=1,
        gradient_checkpointing=False, steps=1000, opposite_every=0, preview_every=0, layers="cross+self", rank=4,
        resolution_px=base.native_size_px,
    )  # fmt: skip
    job = Job.create(Home(scratch / "home").jobs, plan, sorted(scratch.glob("*.png")))
    for _ in encode.prepare(base, job, plan, lambda: False):
        pass
    with adapted(base.unet, plan) as weights:
        trainer = begin(job, plan, base, weights)
        try:

            def step() -> None:
                trainer.take_step()
                if trainer.progress.step % plan.report_every == 0:
                    trainer.read_loss()  # as the loop does

            return work.seconds(step)
        finally:
            trainer.close()


@torch.no_grad()
def compiling(work: Work) -> Iterator[Row]:
    """A guided step with the UNet's blocks compiled, as the setting has it, over one without."""
    unet = work.unet("sd1")
    inputs, timestep, conditioning = work.inputs(unet, "sd1", 2)
    # A CPU would need a C++ compiler for the usual one.
    blocks = CompiledBlocks(unet, backend="inductor" if work.full else "eager")

    def step() -> None:
        predict(unet, inputs, timestep, conditioning, 7.0)

    def compiled() -> None:
        with blocks.in_use():
            step()

    plain, first, after = work.seconds(step), seconds_of(compiled, work.device), work.seconds(compiled)
    yield Row(
        "compile", f"sd1 {work.side_px('sd1')} px, a guided step compiled over one that is not", f"{after / plain:.3f}",
        f"{plain * 1000:.1f} ms; the first call {first:.0f} s",
    )  # fmt: skip


STAGES: dict[str, Callable[[Work], Iterator[Row]]] = {
    "memory": memory,
    "blend": blend,
    "training": training,
    "compile": compiling,
}


def rows_of(stage: str, work: Work) -> Iterator[dict[str, str]]:
    """A stage's rows as plain values; the last one says what broke it off, if something did."""
    try:
        for row in STAGES[stage](work):
            yield asdict(row)
    except Exception as error:
        yield asdict(Row(stage, "broke off", f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"))
    give_back(work.device)
