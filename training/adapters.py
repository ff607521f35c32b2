"""The trainable LoRA layers on a base's attention, and their weights as a style.

Over a layer in four bits with groups (qa4) they read the sum of each group of inputs, QA-LoRA (arXiv 2309.14717), so that
the style can be merged into those four bits. Ours and not PEFT's `use_qalora`: that (0.21) is for GPTQ layers alone, takes
the mean times the number of groups where the paper has the sum, and can't merge.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from styles.errors import PlanError
from styles.formats.style import Style, StyleLayer
from styles.quantization.quantization import quantization_of
from training.draws import cpu_generator
from training.plan import TrainingPlan
from training.settings import MOST_RANKS

if TYPE_CHECKING:
    from torch import Tensor, nn

NAME = "style"  # of the adapter inside PEFT
# PEFT matches a string as a whole (re.fullmatch), a list by suffix: ["to_q"] would train self-attention as well.
TARGETS = {
    "cross": r".*attn2\.to_(q|k|v|out\.0)",
    "cross+self": r".*attn[12]\.to_(q|k|v|out\.0)",
    # What kohya's scripts train of a UNet unless they are told otherwise.
    "transformer": r".*(attn[12]\.to_(q|k|v|out\.0)|\.ff\.net\.(0\.proj|2)|\.proj_(in|out))",
}
# The name of a layer's `down`, with the size of its groups where it has such.
DOWN = re.compile(r"(?P<path>.+)\.down(?:\.(?P<group>\d+))?")


@contextmanager
def adapted(unet: Any, plan: TrainingPlan) -> Iterator[dict[str, Tensor]]:
    """Put trainable layers on a UNet and yield their weights by name; taken off again at the end, come what may.

    Names are `<module path>.down` (rank, in) and `<module path>.up` (out, rank), with (1, 1) behind for a convolution
    of that size, fp32 and requiring gradients; all else is frozen. Over a layer in four bits with groups, `down` is
    called `<module path>.down.<group>` and is (rank, in / group). `down` starts Gaussian with deviation 1/rank, drawn
    from the plan's seed, `up` at zero, so that the untrained style changes nothing (LoRA, arXiv 2106.09685, section
    4.1).
    """
    import torch
    from peft import LoraConfig

    before = {name: value.requires_grad for name, value in unet.named_parameters()}
    training = unet.training
    unet.requires_grad_(False)
    config = LoraConfig(
        r=plan.rank, lora_alpha=plan.alpha, init_lora_weights="gaussian", target_modules=TARGETS[plan.layers]
    )
    try:
        with torch.random.fork_rng(devices=[]):  # a layer's own start draws from the global generator
            unet.add_adapter(config, adapter_name=NAME)
            groups = {path: _read_groups(layer) for path, layer in _lora_layers(unet)}
        weights = {}
        for path, layer in _lora_layers(unet):
            down, up = layer.lora_A[NAME].weight, layer.lora_B[NAME].weight
            start = torch.randn(down.shape, generator=cpu_generator(plan.seed, f"start {path}"))
            down.data = (start / plan.rank).to(down.device)  # fp32 even on a half-precision base
            up.data = torch.zeros(up.shape, device=up.device)
            name = f"{path}.down.{groups[path]}" if groups[path] else f"{path}.down"
            weights[name], weights[f"{path}.up"] = down, up
        yield weights
    finally:
        if getattr(unet, "_hf_peft_config_loaded", False):
            unet.unload_lora()
        for name, value in unet.named_parameters():
            value.requires_grad_(before[name])
        unet.train(training)


def set_weight(unet: Any, weight: float) -> None:
    """Let the trainable layers act at a weight, as a slider would; they start at 1."""
    for _, layer in _lora_layers(unet):
        layer.set_scale(NAME, weight)


def _lora_layers(unet: nn.Module) -> Iterator[tuple[str, Any]]:
    from peft.tuners.lora import LoraLayer

    for path, module in unet.named_modules():
        if isinstance(module, LoraLayer):
            yield path, module


def _read_groups(layer: Any) -> int:
    """Let a LoRA layer read sums where its base layer has groups; returns their size, 0 where there are none."""
    from styles.quantization.grouped_linear import GroupedLinear, SummedInputs

    base, plain = layer.get_base_layer(), layer.lora_A[NAME]
    if not isinstance(base, GroupedLinear):
        return 0
    summed = SummedInputs(base.in_features // base.group, plain.out_features)
    layer.lora_A[NAME] = summed.to(plain.weight.device)
    return base.group


def check_continued(style: Style, plan: TrainingPlan) -> None:
    """Raise PlanError for a style with layers or a rank for which the plan has no place, whatever its base is.

    Those of text encoders are not trained, and stay as they are.
    """
    layers = [layer for layer in style.layers if layer.network == "unet"]
    places = re.compile(TARGETS[plan.layers])
    strange = [layer.name for layer in layers if not places.fullmatch(layer.path)]
    if strange:
        raise PlanError(
            "{style} changes {strange} and {count} more layers that this plan does not train.",
            "Train whole transformer blocks, or start a new style: other convolutions are not trained here.",
            style=style.card.name,
            strange=strange[0],
            count=len(strange) - 1,
        )
    if not layers:
        raise PlanError(
            "{style} changes no layer of the UNet, so there is nothing in it that could be trained.",
            "Start a new style, and mix it with this one.",
            style=style.card.name,
        )
    check_ranks(style)
    rank = highest_rank(style)
    if rank > plan.rank:
        raise PlanError(
            "{style} has rank {rank}, the plan only {plan_rank}.",
            "Continue it with rank {rank} or more.",
            style=style.card.name,
            rank=rank,
            plan_rank=plan.rank,
        )
    from styles.quantization.column_groups import style_repeats

    quantization = quantization_of(plan.quantize)
    if quantization and quantization.is_grouped and not style_repeats(style, quantization.group):
        raise _without_groups(style, quantization.group)


def _without_groups(style: Style, group: int) -> PlanError:
    return PlanError(
        "{style} was not trained over groups of {group} inputs, so a base in groups of {group} can't train it on.",
        "Go on with the base as it is or as NF4, or with smaller groups if it was trained over smaller ones; or start a new style.",
        style=style.card.name,
        group=group,
    )


def check_ranks(style: Style) -> None:
    """Raise PlanError for a style of more ranks than any plan may have."""
    rank = highest_rank(style)
    if rank <= MOST_RANKS:
        return
    layers = [layer for layer in style.layers if layer.network == "unet"]
    widest = max(min(layer.down[0].numel(), layer.up.shape[0]) for layer in layers)
    raise PlanError(
        "{style} has rank {rank}, and a training can go on from at most {most_ranks}.",
        'Bake it into a style of fewer ranks, in the Library or by `styles bake NAME --style "{style}=1" --rank {rank_to_bake}`, and go on from that.',
        style=style.card.name,
        rank=rank,
        most_ranks=MOST_RANKS,
        rank_to_bake=min(MOST_RANKS, widest),
    )


def highest_rank(style: Style) -> int:
    """Return the rank that a plan needs to go on from a style; 0 where there is nothing to go on from."""
    return max((layer.rank for layer in style.layers if layer.network == "unet"), default=0)


def continue_style(weights: dict[str, Tensor], style: Style, plan: TrainingPlan) -> None:
    """Start from a finished style instead of from nothing; a smaller rank fills the first rows of a larger one.

    Raises PlanError when the style has layers or a rank for which the plan has no place.
    """
    from styles.quantization.column_groups import columns_repeat, grouped_columns

    check_continued(style, plan)
    downs = {path: (group, weights[name]) for name, path, group in _downs(weights)}
    for layer in style.layers:
        if layer.network != "unet":
            continue
        group, down = downs.get(layer.path, (1, None))
        up = weights.get(f"{layer.path}.up")
        if (
            down is None
            or up is None
            or layer.down.shape[1] != group * down.shape[1]
            or layer.up.shape[0] != up.shape[0]
        ):
            raise PlanError(
                "{style} was made for another base.",
                "Continue it on the base it is for.",
                style=style.card.name,
            )
        if group > 1 and not columns_repeat(layer.down, group):
            raise _without_groups(style, group)
        # The plan's own scale is applied from now on: the difference goes into `up`.
        factor = layer.scale / (plan.alpha / plan.rank)
        # A layer may be linear here and a 1x1 convolution there.
        start = grouped_columns(layer.down, group).to(down)
        down.data[: layer.rank] = start.reshape(layer.rank, *down.shape[1:])
        up.data[:, : layer.rank] = layer.up.to(up).view(-1, layer.rank, *up.shape[2:]) * factor


def style_layers(weights: dict[str, Tensor], alpha: float) -> tuple[StyleLayer, ...]:
    """Return trained weights as the layers of a style; where they read groups, the columns repeat within each."""
    from styles.quantization.column_groups import expanded_columns

    return tuple(
        StyleLayer(
            "unet",
            path,
            expanded_columns(weights[name].detach().cpu(), group),
            weights[f"{path}.up"].detach().cpu(),
            alpha,
        )
        for name, path, group in sorted(_downs(weights), key=lambda down: down[1])
    )


def _downs(weights: Iterable[str]) -> Iterator[tuple[str, str, int]]:
    """Yield the name of each `down`, the path of its layer, and the size of the groups that it reads; 1 for none."""
    for name in weights:
        if match := DOWN.fullmatch(name):
            yield name, match["path"], int(match["group"] or 1)
