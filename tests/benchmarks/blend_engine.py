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
import json
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor

from styles.devices.precision import DTYPES
from styles.formats.style import Style
from styles.mixing.model_patcher import blended
from tests.benchmarks.blend_subjects import (
    Subject,
    fingerprint,
    flops_of,
    styles_for,
    subject_of,
    weights_for,
    with_peft,
)
from tests.benchmarks.pairs import alone, in_turns
from tests.styles.making import PlainBase

COUNTS = (1, 2, 4, 8, 16)
FIGURES = ("steps", "sliders", "strip", "adding", "moves")
REACH = (  # the figures whose name begins so, and what they are to reach
    ("slider move, 8", "2 ms on a CPU, 1 ms on a GPU"),
    ("strip of 9", "1.0 on a CPU, 0.7 on a GPU"),
    ("adding one", "100 ms"),
    ("200 moves", "all true"),
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=("starter", "sd15", "tiny"), help="default: starter, then sd15")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=tuple(DTYPES), help="default: fp32 on a CPU, else bf16")
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--counts", type=int, nargs="+", default=list(COUNTS), help="of styles")
    parser.add_argument(
        "--peft", type=int, nargs="*", default=list(COUNTS), help="of styles, by PEFT beside it"
    )
    parser.add_argument("--figures", choices=FIGURES, nargs="+", default=list(FIGURES))
    parser.add_argument("--latents", type=int, default=0, help="side; default: 64, on a CPU 32, starter 16")
    parser.add_argument("--compile", action="store_true", help="compile the UNets of the steps")
    arguments = parser.parse_args()
    # Every UNet is a graph of its own over the same code, and several adapters are the point.
    torch._dynamo.config.recompile_limit = torch._dynamo.config.accumulated_recompile_limit = 1000
    warnings.filterwarnings("ignore", "Already found a `peft_config`", UserWarning)
    for name in (arguments.only,) if arguments.only else ("starter", "sd15"):
        result = measure(name, arguments)
        print(table(result), flush=True)
        print(json.dumps(result), flush=True)


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
    if "sliders" in arguments.figures:
        figures |= sliders(subject, styles[:8], arguments)
    if "sliders" in arguments.figures and arguments.peft:
        figures |= sliders_of_peft(subject, styles[:8], arguments)
    if "strip" in arguments.figures:
        figures |= strip(subject, styles[:8], arguments)
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
            if count in arguments.peft:
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


def sliders(subject: Subject, styles: Sequence[Style], arguments: argparse.Namespace) -> dict[str, Any]:
    """A slider move, and what is done once per prompt and once after a move."""
    times = max(30, arguments.pairs)
    drawn = torch.rand(4 * times, 1, 8, generator=torch.Generator().manual_seed(0)).mul(3).sub(1).tolist()
    with blended(PlainBase(subject.shared()), styles) as mix:
        reading = [patch for patch in mix.patches.values() if patch.prompt_states is not None]

        def move() -> None:
            mix.set_gains(drawn.pop())

        def mix_words() -> None:
            for patch in reading:
                patch(subject.states)

        move()
        told = alone(lambda: mix.prompt(subject.states), times, subject.device)
        moved = alone(move, times, subject.device)
        mixed = alone(mix_words, times, subject.device, after=move)
    return {
        "slider move, 8 styles, seconds": moved.to_json(),
        "keys and values once per prompt, seconds": told.to_json(),
        "keys and values after a move, seconds": mixed.to_json(),
    }


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


def strip(subject: Subject, styles: Sequence[Style], arguments: argparse.Namespace) -> dict[str, Any]:
    """A step of nine pictures with other weights each, as one batch over one by one, all in the midst of painting."""
    rows = [[0.1 * picture * weight for weight in weights_for(8)] for picture in range(1, 10)]
    latents, states = subject.many(9)
    with ExitStack() as open_mixes:

        def painting(gains: Any, states: Tensor) -> Any:
            unet = subject.shared()
            mix = open_mixes.enter_context(blended(PlainBase(unet), styles))
            mix.set_gains(gains)
            mix.prompt(states)
            return unet

        nine, one = [painting(row, subject.states) for row in rows], painting(rows, states)

        def single() -> None:
            for unet in nine:
                subject.step(unet, subject.latents, subject.states)

        ratios, _ = in_turns(
            single, {"batch": lambda: subject.step(one, latents, states)}, arguments.pairs, subject.device
        )
    return {"strip of 9, one batch / nine single": ratios["batch"].to_json()}


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
    steps_reach = "1.05" if result["device"] != "cpu" and not result["compiled"] else "1.02"
    lines = [
        f"\n{result['subject']}: {told}",
        "",
        "| figure | median | 95 % interval | FLOPs | to reach |",
        "|---|---|---|---|---|",
    ]
    for name, value in result["figures"].items():
        reach = next((text for start, text in REACH if name.startswith(start)), "")
        if name.startswith("step, ") and "PEFT" not in name:
            reach = steps_reach
        if not isinstance(value, dict):
            lines.append(f"| {name} | {value} | | | {reach} |")
            continue
        unit = 1000 if name.endswith("seconds") else 1
        median, low, high = (f"{value[key] * unit:.4g}" for key in ("median", "low", "high"))
        flops = f"{value['flops ratio']:.4f}x" if "flops ratio" in value else value.get("flops", "")
        lines.append(f"| {name.replace('seconds', 'ms')} | {median} | {low} to {high} | {flops} | {reach} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
