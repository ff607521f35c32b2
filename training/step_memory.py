"""How many bytes a training step holds at its peak, from the shape of the base's UNet and the numbers of the plan.

The base's weights; the layers in training with their gradients, the optimizer's states and copies in half precision; and
what a step keeps for the way back, which is linear in the pictures and their size. Its factors were fitted to counts on
meta tensors with CUDA's autocast and attention (`tests/benchmarks/training_memory.py` prints both), so that a UNet of
any widths is covered.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any

from styles.bases.working_memory import weight_bytes
from training.adapters import TARGETS
from training.plan import TrainingPlan

TOKENS = 77  # of a caption


@dataclass(frozen=True)
class _Parts:
    """A UNet by its parts: widths in channels, summed over places; a level has a quarter of the places above it.

    As a size these are for one latent in the highest level; as factors, bytes for each.
    """

    resnet_inputs: float = 0.0
    resnet_outputs: float = 0.0
    # The dearest block, in bytes where it is kept: gradient checkpointing computes it once more as a whole.
    dearest: float = 0.0
    # Transformers, and the blocks in them; what leads in and out, where that is a convolution.
    transformers: float = 0.0
    transformer_blocks: float = 0.0
    projections: float = 0.0
    # Up- and downsampling.
    samplers: float = 0.0
    # Layers in training that read places, by their inputs' widths and by their ranks.
    adapted: float = 0.0
    ranks: float = 0.0
    # Once for each picture, whatever its size: what attention makes of the words.
    words: float = 0.0
    # Once, for each weight in training.
    trainable: float = 0.0


# By whether the base is in half precision: what is kept for the way back.
_KEPT = {
    True: _Parts(
        resnet_inputs=10.3, resnet_outputs=10.3, transformers=5.2, transformer_blocks=44.6, projections=3.6,
        samplers=7.2, adapted=2.2, ranks=2.8, words=4.8, trainable=14.0,
    ),
    False: _Parts(
        resnet_inputs=8.1, resnet_outputs=8.1, transformers=11.1, transformer_blocks=85.0, projections=6.1,
        samplers=14.2, adapted=3.2, words=3.1, trainable=12.4,
    ),
}  # fmt: skip
# The same with gradient checkpointing.
_CHECKPOINTED = {
    True: _Parts(resnet_inputs=2.0, dearest=2.15, transformers=3.7, projections=3.1, trainable=16.5),
    False: _Parts(
        resnet_inputs=4.1, dearest=2.4, transformer_blocks=2.0, projections=5.5, words=0.4, trainable=12.0
    ),
}
GRADIENT_BYTES = 4


def step_bytes(unet: Any, plan: TrainingPlan, side_px: int, vae_factor: int) -> int:
    """Return the bytes of all tensors at the peak of a step of the plan's batch in squares of that side.

    `unet` is the base's, on any device, without layers in training. Prepared latents and captions are left out, and so
    is what an allocator and a driver need beside.
    """
    half = unet.dtype.itemsize < 4
    size = _parts_of(unet, plan, _KEPT[half])
    each = (_CHECKPOINTED if plan.gradient_checkpointing else _KEPT)[half]
    latents = plan.batch * (side_px // vae_factor) ** 2
    times = dict.fromkeys(asdict(size), latents) | {"words": plan.batch, "trainable": 1}
    activations = sum(times[name] * width * getattr(each, name) for name, width in asdict(size).items())
    # Where batches are gathered, the gradients of those before stand beside.
    gathered = GRADIENT_BYTES * size.trainable if plan.gradient_accumulation > 1 else 0
    return int(weight_bytes(unet) + activations + gathered)


def score_bytes(unet: Any, plan: TrainingPlan, side_px: int, vae_factor: int) -> int:
    """Return what a step takes beside where attention is no single kernel, and keeps its scores, heads x tokens²."""
    levels, latents = len(unet.config.block_out_channels), (side_px // vae_factor) ** 2
    scores = [
        module.attn1.heads * (latents * 0.25 ** _level(path, levels)) ** 2
        for path, module in unet.named_modules()
        if type(module).__name__ == "BasicTransformerBlock"
    ]
    # Counted: all are kept and one more is at work; gradient checkpointing keeps none, and makes one anew.
    together = 3 * max(scores) if plan.gradient_checkpointing else sum(scores) + max(scores)
    return int(together * plan.batch * unet.dtype.itemsize)


def _parts_of(unet: Any, plan: TrainingPlan, kept: _Parts) -> _Parts:
    """Return the size of a UNet and of those of its layers that the plan trains; `kept` are the bytes of blocks."""
    sums = dict.fromkeys(asdict(_Parts()), 0.0)
    levels, trained = len(unet.config.block_out_channels), re.compile(TARGETS[plan.layers])
    bytes_of_blocks: dict[str, float] = {}
    for path, module in unet.named_modules():
        places = 0.25 ** _level(path, levels)
        # A layer's own block.
        block = re.sub(r"(transformer_blocks\.\d+).*", r"\1", path)
        kind = type(module).__name__
        part: dict[str, float] = {}
        if kind == "ResnetBlock2D":
            part = {
                "resnet_inputs": places * module.in_channels,
                "resnet_outputs": places * module.out_channels,
            }
        elif kind == "Transformer2DModel":
            part = {"transformers": places * _widths(module.proj_in)[1]}
            if not unet.config.use_linear_projection:
                part["projections"] = part["transformers"]
        elif kind == "BasicTransformerBlock":
            width = module.norm1.normalized_shape[0]
            part = {"transformer_blocks": places * width}
            sums["words"] += TOKENS * (width + unet.config.cross_attention_dim)
        elif kind in ("Downsample2D", "Upsample2D"):
            part = {"samplers": places * module.channels * (4 if kind == "Upsample2D" else 1)}
        elif trained.fullmatch(path) and hasattr(module, "weight"):
            inputs, outputs = _widths(module)
            # Over groups a layer in training reads their sums.
            inputs //= getattr(module, "group", 1)
            sums["trainable"] += plan.rank * (inputs + outputs)
            if not path.endswith(("attn2.to_k", "attn2.to_v")):
                part = {"adapted": places * inputs, "ranks": places * plan.rank}
        for name, width in part.items():
            sums[name] += width
            bytes_of_blocks[block] = bytes_of_blocks.get(block, 0.0) + width * getattr(kept, name)
    return _Parts(**sums | {"dearest": max(bytes_of_blocks.values())})


def _level(path: str, levels: int) -> int:
    """Return the level of a module, 0 for the highest."""
    at = re.match(r"(down|up)_blocks\.(\d+)", path)
    if at is None:
        return levels - 1 if path.startswith("mid_block") else 0
    return int(at[2]) if at[1] == "down" else levels - 1 - int(at[2])


def _widths(layer: Any) -> tuple[int, int]:
    """Return how many values a linear layer or a 1x1 convolution takes and gives; a quantised weight doesn't tell."""
    if hasattr(layer, "in_features"):
        return layer.in_features, layer.out_features
    return layer.in_channels, layer.out_channels
