"""What a blend costs: denoising steps, slider moves, strips and coming and going, beside plain diffusers and PEFT.

python -m tests.benchmarks.blend_engine --only starter --pairs 40
python -m tests.benchmarks.blend_engine --only sd15 --device cuda --compile

On an SD1.5-shaped UNet with random weights (64x64 latents on an accelerator, 32x32 on a CPU) and on the starter, with
random rank-8 styles on every attn2 layer. A step is what the diffusers pipeline does per step: the UNet over [negative,
positive], the guidance, the scheduler. All ways share the very same weights in memory and take turns in one process;
figures are medians with their 95 % interval. What is done once per prompt is measured beside the steps.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from styles.base import DTYPES, device_for
from styles.stacked import BlendedModel, blended
from styles.style import Style, StyleCard
from tests.benchmarks.pairs import alone, in_turns
from tests.styles.making import PlainBase, random_style

COUNTS = (1, 2, 4, 8, 16)
FIGURES = ("steps", "peft", "sliders", "strip", "adding", "moves")
STARTER = Path(__file__).resolve().parents[2] / "styles" / "starter"
TARGETS = r".*attn2\.to_(q|k|v|out\.0)"
GUIDANCE = 7.5


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=("starter", "sd15", "tiny"), help="default: starter, then sd15")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=tuple(DTYPES), help="default: fp32 on a CPU, else bf16")
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--counts", type=int, nargs="+", default=list(COUNTS), help="of styles")
    parser.add_argument("--figures", choices=FIGURES, nargs="+", default=list(FIGURES))
    parser.add_argument("--latents", type=int, default=0, help="side; default: 64, on a CPU 32, starter 16")
    parser.add_argument("--compile", action="store_true", help="compile the UNets of the steps")
    arguments = parser.parse_args()
    for name in (arguments.only,) if arguments.only else ("starter", "sd15"):
        result = measure(name, arguments)
        print(table(result), flush=True)
        print(json.dumps(result), flush=True)


@dataclass(frozen=True)
class Subject:
    """A UNet to measure on, with what a step is given."""

    name: str
    unet: Any
    latents: Tensor  # (1, C, h, w)
    states: Tensor  # (2, tokens, width): negative, positive
    scheduler: Any

    @property
    def device(self) -> torch.device:
        return self.latents.device

    def shared(self, own: str = "") -> Any:
        """Return another UNet over the same weights in memory, but with its own of the layers under `own`."""
        kept = [
            tensor
            for name, tensor in (*self.unet.named_parameters(), *self.unet.named_buffers())
            if not own or own not in name
        ]
        return copy.deepcopy(self.unet, {id(tensor): tensor for tensor in kept})

    @torch.no_grad()
    def step(self, unet: Any, latents: Tensor, states: Tensor) -> Tensor:
        """Do one denoising step as the diffusers pipeline does."""
        timestep = self.scheduler.timesteps[10]
        both = self.scheduler.scale_model_input(torch.cat([latents, latents]), timestep)
        prediction = unet(both, timestep, encoder_hidden_states=states, return_dict=False)[0]
        without, withs = prediction.chunk(2)
        return self.scheduler.step(without + GUIDANCE * (withs - without), timestep, latents).prev_sample

    def many(self, pictures: int) -> tuple[Tensor, Tensor]:
        """Return (latents, states) of several pictures of the same prompt."""
        return self.latents.repeat(pictures, 1, 1, 1), self.states.repeat_interleave(pictures, 0)


def subject_of(name: str, arguments: argparse.Namespace) -> Subject:
    """Build or open what is measured on."""
    from diffusers import DDIMScheduler, UNet2DConditionModel

    device = device_for(arguments.device)
    torch.manual_seed(0)
    if name == "starter":
        unet, side, tokens = UNet2DConditionModel.from_pretrained(STARTER, subfolder="unet"), 16, 40
    elif name == "sd15":
        # diffusers' defaults are Stable Diffusion 1.5's, but for the width of its words.
        unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768)
        side, tokens = 32 if device.type == "cpu" else 64, 77
    else:
        unet = UNet2DConditionModel(
            block_out_channels=(32, 64), layers_per_block=1, cross_attention_dim=64, norm_num_groups=16,
            down_block_types=("CrossAttnDownBlock2D",) * 2, up_block_types=("CrossAttnUpBlock2D",) * 2,
        )  # fmt: skip
        side, tokens = 16, 7
    dtype = DTYPES[arguments.dtype or ("fp32" if device.type == "cpu" else "bf16")]
    unet = unet.to(device, dtype).requires_grad_(False).eval()
    side = arguments.latents or side
    scheduler = DDIMScheduler(clip_sample=False)
    scheduler.set_timesteps(20)
    return Subject(
        name,
        unet,
        torch.randn(1, unet.config.in_channels, side, side).to(device, dtype),
        torch.randn(2, tokens, unet.config.cross_attention_dim).to(device, dtype),
        scheduler,
    )


def styles_for(unet: Any, count: int) -> list[Style]:
    """Make random rank-8 styles on every attn2 layer."""
    styles = []
    for number in range(count):
        made = random_style(unet, f"style{number}", family="unknown", seed=number, rank=8)
        card = StyleCard(made.name, "unknown", 8, id=hashlib.sha256(made.name.encode()).hexdigest())
        styles.append(Style(card, made.layers))
    return styles


def with_peft(unet: Any, styles: Sequence[Style]) -> Any:
    """Put the same styles on through diffusers and PEFT, all of them on at once."""
    from peft import LoraConfig

    for style in styles:
        unet.add_adapter(
            LoraConfig(r=8, lora_alpha=style.layers[0].alpha, target_modules=TARGETS), style.name
        )
        for layer in style.layers:
            module = unet.get_submodule(layer.path)
            for factor, ours in ((module.lora_A, layer.down), (module.lora_B, layer.up)):
                factor[style.name].weight.data = ours.to(module.base_layer.weight)
    unet.set_adapters([style.name for style in styles], weights_for(len(styles)))
    return unet.requires_grad_(False)


def weights_for(count: int) -> list[float]:
    return [0.3 + 0.1 * (number % 5) for number in range(count)]


def fingerprint(unet: Any) -> str:
    digest = hashlib.sha256()
    for name, tensor in unet.state_dict().items():
        digest.update(
            name.encode() + tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
        )
    return digest.hexdigest()


def flops_of(call: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counted:
        call()
    return int(counted.get_total_flops())


def measure(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return all asked figures of one subject as plain values."""
    subject = subject_of(name, arguments)
    styles = styles_for(subject.unet, max(*arguments.counts, 8))
    result: dict[str, Any] = {
        "subject": name,
        "device": torch.cuda.get_device_name() if subject.device.type == "cuda" else str(subject.device),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "dtype": str(subject.latents.dtype),
        "latents": subject.latents.shape[-1],
        "compiled": arguments.compile,
        "figures": {},
    }
    figures = result["figures"]
    if "steps" in arguments.figures:
        figures |= steps(subject, styles, arguments)
    eight = PlainBase(subject.shared())
    with blended(eight, styles[:8]) as mix:
        mix.set_gains(weights_for(8))
        if "sliders" in arguments.figures:
            figures |= sliders(subject, mix, arguments)
        if "strip" in arguments.figures:
            figures |= strip(subject, eight.unet, mix, arguments)
    if "sliders" in arguments.figures and "peft" in arguments.figures:
        figures |= sliders_of_peft(subject, styles[:8], arguments)
    if "adding" in arguments.figures:
        figures |= adding(subject, styles[:8], arguments)
    if "moves" in arguments.figures:
        figures |= moves(subject, styles[:8])
    return result


def steps(subject: Subject, styles: Sequence[Style], arguments: argparse.Namespace) -> dict[str, Any]:
    """A step with styles over one without, ours and PEFT's."""

    def stepping(unet: Any) -> Callable[[], Tensor]:
        forward = torch.compile(unet) if arguments.compile else unet
        return lambda: subject.step(forward, subject.latents, subject.states)

    plain, kinds, found = stepping(subject.unet), {}, {}
    with ExitStack() as open_mixes:
        flops = {"plain": flops_of(lambda: subject.step(subject.unet, subject.latents, subject.states))}
        for count in arguments.counts:
            names, unet = f"{count} styles", subject.shared()
            mix = open_mixes.enter_context(blended(PlainBase(unet), styles[:count]))
            mix.set_gains(weights_for(count))
            mix.prompt(subject.states)
            kinds[names] = stepping(unet)
            kinds[names]()  # the first step mixes the keys and values
            flops[names] = flops_of(lambda unet=unet: subject.step(unet, subject.latents, subject.states))
            if "peft" in arguments.figures:
                theirs = with_peft(subject.shared(), styles[:count])
                kinds[f"{count} styles, PEFT"] = stepping(theirs)
                flops[f"{count} styles, PEFT"] = flops_of(
                    lambda unet=theirs: subject.step(unet, subject.latents, subject.states)
                )
                found[f"difference from PEFT, {count} styles"] = apart(
                    kinds[names](), kinds[f"{count} styles, PEFT"]()
                )
        ratios, seconds = in_turns(plain, kinds, arguments.pairs, subject.device)
    found["plain step, seconds"] = seconds.to_json() | {"flops": flops["plain"]}
    for kind, ratio in ratios.items():
        found[f"step, {kind} / none"] = ratio.to_json() | {
            "flops": flops[kind],
            "flops ratio": round(flops[kind] / flops["plain"], 5),
        }
    return found


def apart(one: Tensor, other: Tensor) -> float:
    """Largest difference over the largest value."""
    return float((one.float() - other.float()).abs().max() / other.float().abs().max())


def sliders(subject: Subject, mix: BlendedModel, arguments: argparse.Namespace) -> dict[str, Any]:
    """A slider move, and what is done once per prompt and once after a move."""
    generator = torch.Generator().manual_seed(0)
    reading = [stack for stack in mix.stacks.values() if stack.words is not None]

    def move() -> None:
        mix.set_gains(drawn.pop())

    def remix() -> None:
        for stack in reading:
            stack(subject.states)

    times = max(30, arguments.pairs)
    drawn = torch.rand(3 * times + 6, 1, 8, generator=generator).mul(3).sub(1).tolist()
    mix.prompt(subject.states)
    found = {
        "slider move, 8 styles, seconds": alone(move, times, subject.device).to_json(),
        "keys and values once per prompt, seconds": alone(
            lambda: mix.prompt(subject.states), times, subject.device
        ).to_json(),
    }
    move()
    found["keys and values after a move, seconds"] = alone(remix, times, subject.device, after=move).to_json()
    mix.prompt(None)
    return found


@torch.no_grad()
def sliders_of_peft(
    subject: Subject, styles: Sequence[Style], arguments: argparse.Namespace
) -> dict[str, Any]:
    """The same move by set_adapters, and by fusing into the weights and out again."""
    unet = with_peft(subject.shared(own=".attn2."), styles)
    names, times = [style.name for style in styles], max(30, arguments.pairs)
    found = {
        "slider move, PEFT set_adapters, seconds": alone(
            lambda: unet.set_adapters(names, weights_for(8)), times, subject.device
        ).to_json()
    }
    before = fingerprint(unet)

    def fuse() -> None:
        unet.unfuse_lora()
        unet.set_adapters(names, weights_for(8))
        unet.fuse_lora(adapter_names=names)

    unet.fuse_lora(adapter_names=names)
    found["slider move, PEFT unfuse and fuse, seconds"] = alone(fuse, times, subject.device).to_json()
    unet.unfuse_lora()
    found["PEFT's base bit-identical after that"] = fingerprint(unet) == before
    return found


def strip(subject: Subject, unet: Any, mix: BlendedModel, arguments: argparse.Namespace) -> dict[str, Any]:
    """A step of nine pictures with other weights each, as one batch over one by one."""
    rows = [[0.1 * picture * weight for weight in weights_for(8)] for picture in range(1, 10)]
    latents, states = subject.many(9)

    def together() -> None:
        subject.step(unet, latents, states)

    def single() -> None:
        mix.set_gains(rows[0])
        mix.prompt(subject.states)
        for row in rows:
            mix.set_gains(row)
            subject.step(unet, subject.latents, subject.states)

    def batch() -> None:
        mix.set_gains(rows)
        mix.prompt(states)
        together()

    ratios, _ = in_turns(single, {"one batch": batch}, arguments.pairs, subject.device)
    mix.prompt(None)
    return {"strip of 9, one batch / nine single": ratios["one batch"].to_json()}


def adding(subject: Subject, styles: Sequence[Style], arguments: argparse.Namespace) -> dict[str, Any]:
    """One more style on a base that has seven, with a prompt kept."""
    with blended(PlainBase(subject.shared()), styles[:7]) as mix:
        mix.set_gains(weights_for(7))
        mix.prompt(subject.states)
        added = alone(
            lambda: mix.add(styles[7]),
            max(30, arguments.pairs),
            subject.device,
            after=lambda: mix.remove(styles[7].id),
        )
    return {"adding one style to seven, seconds": added.to_json()}


def moves(subject: Subject, styles: Sequence[Style]) -> dict[str, Any]:
    """200 random slider moves, then all off."""
    generator = torch.Generator().manual_seed(1)
    unet = subject.shared()
    before = fingerprint(subject.unet)
    plain = subject.step(unet, subject.latents, subject.states)
    with blended(PlainBase(unet), styles) as mix:
        mix.prompt(subject.states)
        for turn in range(200):
            mix.set_gains(torch.rand(1, 8, generator=generator) * 3 - 1)
            if turn % 50 == 49:
                assert not torch.equal(subject.step(unet, subject.latents, subject.states), plain)
        mix.set_gains([0.0] * 8)
        off = torch.equal(subject.step(unet, subject.latents, subject.states), plain)
    gone = torch.equal(subject.step(unet, subject.latents, subject.states), plain)
    same = fingerprint(subject.unet) == before
    return {"200 moves, then off: picture, picture without styles and weights identical": [off, gone, same]}


def table(result: dict[str, Any]) -> str:
    """Return the figures as a Markdown table."""
    told = ", ".join(f"{key} {result[key]}" for key in ("device", "dtype", "latents", "threads", "compiled"))
    lines = [
        f"\n{result['subject']}: {told}",
        "",
        "| figure | median | 95 % interval | FLOPs |",
        "|---|---|---|---|",
    ]
    for name, value in result["figures"].items():
        if isinstance(value, dict):
            unit = 1000 if name.endswith("seconds") else 1
            spread = [f"{value[key] * unit:.4g}" for key in ("median", "low", "high")]
            flops = f"{value['flops ratio']:.4f}x" if "flops ratio" in value else value.get("flops", "")
            shown = name.replace("seconds", "ms")
            lines.append(f"| {shown} | {spread[0]} | {spread[1]} to {spread[2]} | {flops} |")
        else:
            lines.append(f"| {name} | {value} | | |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
