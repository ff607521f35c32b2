"""What can be set of a training: each number once, with its range and its words.

The plan, the command line, the endpoints and the form of the window read it from here.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Annotated, Any

from styles.errors import PlanError
from styles.generation.settings import CLIP_SKIP
from styles.quantization.quantization import QUANTIZE
from styles.storage.setting import Setting, settings
from styles.text import Text
from training.optimizers import OPTIMIZERS

# The parts of the settings under Advanced.
LENGTH, MEMORY, FINER, PREVIEWS = Text("Length"), Text("Memory"), Text("Finer points"), Text("Previews")


Steps = Annotated[
    int,
    Setting(
        "Steps of training", "How often the style is corrected. Too many copy the artworks.",
        option="Training steps.", unset="the preset's", low=1, high=100_000, group=LENGTH,
    ),
]  # fmt: skip
LearningRate = Annotated[
    float,
    Setting(
        "Learning rate, 0 to 0.1", "How large each correction is. Halve it if the pictures fall apart.",
        option="Learning rate at its highest.", unset="the preset's", above=0, high=0.1, group=LENGTH,
    ),
]  # fmt: skip
MOST_RANKS = 128
Rank = Annotated[
    int,
    Setting(
        "Rank, 1 to 128", "How much the style can hold. More makes a larger file.", option="Rank of the style.",
        unset="the preset's", low=1, high=MOST_RANKS, group=LENGTH,
    ),
]  # fmt: skip
# "cross": attn2 only; "cross+self": attn1 too; "transformer": their blocks whole, with feed-forward and projections.
Layers = Annotated[
    str,
    Setting(
        "Layers to train",
        "Cross-attention follows the words; with self-attention it follows the artworks more closely. "
        "Whole blocks are what most styles of others change; over a base in four bits they may make up for its "
        "rounding, as they do in language models. They make a larger file and slower steps.",
        option="cross, cross+self attention, or whole transformer blocks.", unset="cross",
        choices=("cross", "cross+self", "transformer"), group=LENGTH,
    ),
]  # fmt: skip
Seed = Annotated[
    int,
    Setting(
        "Training seed", "The same seed gives the same style again.", option="Seed of the training.", low=0,
        high=2**63 - 1, group=LENGTH,
    ),
]  # fmt: skip
Batch = Annotated[
    int,
    Setting(
        "Batch in pictures",
        "How many are looked at together. More is steadier and takes more memory; where that is short, they are split.",
        option="Pictures per forward pass.", unset="the preset's", low=1, high=64, group=MEMORY,
    ),
]  # fmt: skip
Accumulation = Annotated[
    int,
    Setting(
        "Gradient accumulation in batches",
        "Batches to one step: as steady as a large batch, without its memory.", name="accumulate",
        option="Forward passes per step: less memory.", unset="the preset's", low=1, high=64, group=MEMORY,
    ),
]  # fmt: skip
# 0 is the base's own.
Resolution = Annotated[
    int,
    Setting(
        "Resolution in pixels", "Side of the square whose area every artwork gets; the base's own is best.",
        name="resolution", option="Side of the training pictures in pixels.", unset="the base's", low=0, high=2048,
        group=MEMORY,
    ),
]  # fmt: skip
Checkpointing = Annotated[
    bool,
    Setting(
        "Gradient checkpointing", "Much less memory, a third slower.", name="checkpointing",
        option="Less memory, but slower.", unset="the preset's", group=MEMORY,
    ),
]  # fmt: skip
Quantize = Annotated[
    str, replace(QUANTIZE, unset=Text("as the base is kept, or as NF4 where only that fits"), group=MEMORY)
]
Flip = Annotated[
    bool,
    Setting(
        "Show the artworks mirrored, too", "Not with lettering or signatures.",
        option="Show the artworks mirrored, too; not with lettering.", unset="the preset's", group=FINER,
    ),
]  # fmt: skip
Alpha = Annotated[
    float,
    Setting(
        "Alpha", "The style's strength is alpha divided by rank; usually both are equal.", above=0, high=1024,
        own=False, group=LENGTH,
    ),
]  # fmt: skip
OppositeEvery = Annotated[
    int,
    Setting(
        "An opposite step every so many steps",
        "Teaches the slider to take away below 0 what it adds above; 0 for none.", low=0, high=100_000,
        own=False, group=FINER,
    ),
]  # fmt: skip
Companions = Annotated[
    tuple[str, ...],
    Setting(
        "Words beside the trigger, a line for each",
        "For artworks without a caption: one line, drawn anew each time; “off” for none.", own=False, group=FINER,
    ),
]  # fmt: skip
ClipSkip = Annotated[int, replace(CLIP_SKIP, group=FINER)]
CaptionDropout = Annotated[
    float,
    Setting(
        "Caption dropout, 0 to 1", "Share of pictures shown without their caption.", low=0, high=1,
        own=False, group=FINER,
    ),
]  # fmt: skip
NoiseOffset = Annotated[
    float,
    Setting(
        "Noise offset, 0 to 0.5", "Teaches very dark and very light pictures; only bases that predict noise.",
        low=0, high=0.5, own=False, group=FINER,
    ),
]  # fmt: skip
MinSnrGamma = Annotated[
    float,
    Setting(
        "Min-SNR gamma", "Weighs light and heavy noise alike; “off” for the plain loss.", low=0.01, high=1000,
        own=False, group=FINER,
    ),
]  # fmt: skip
WarmupFraction = Annotated[
    float,
    Setting(
        "Warm-up, 0 to 0.5 of all steps", "How long the learning rate rises before it falls.", low=0, high=0.5,
        own=False, group=FINER,
    ),
]  # fmt: skip
FinalRateFraction = Annotated[
    float,
    Setting(
        "Last learning rate, 0 to 1 of the highest", "Where the learning rate ends.", low=0, high=1,
        own=False, group=FINER,
    ),
]  # fmt: skip
UnmaskedWeight = Annotated[
    float,
    Setting(
        "Weight beside the masks, 0 to 1",
        "How much counts what a mask leaves out; only for artworks with a mask.", low=0, high=1,
        own=False, group=FINER,
    ),
]  # fmt: skip
OptimizerName = Annotated[
    str,
    Setting(
        "Optimizer",
        "AdamW is the usual one. In 8 bits or paged it is bitsandbytes', for CUDA alone: beside a base they save "
        "next to nothing: at most 6 MB on Stable Diffusion 1.5 and 50 MB on XL at rank 8; and each step waits for the card.",
        option="adamw, or adamw8bit or paged_adamw with bitsandbytes on CUDA.", unset="AdamW, the usual one",
        choices=tuple(OPTIMIZERS), group=FINER,
    ),
]  # fmt: skip
WeightDecay = Annotated[
    float,
    Setting(
        "Weight decay, 0 to 1", "Pulls the style back towards nothing.", low=0, high=1, own=False, group=FINER
    ),
]
GradClip = Annotated[
    float,
    Setting(
        "Gradient clipping, norm", "The largest correction that is let through.", above=0, high=1000,
        own=False, group=FINER,
    ),
]  # fmt: skip
PreviewPrompts = Annotated[
    tuple[str, ...],
    Setting(
        "Preview prompts, one on each line",
        "At most 8; each costs time at every preview.",
        own=False,
        group=PREVIEWS,
    ),
]
PreviewNegative = Annotated[
    str,
    Setting(
        "Negative prompt of the previews", "What they are to be without.", option="Negative prompt of the previews.",
        group=PREVIEWS,
    ),
]  # fmt: skip
PreviewEvery = Annotated[
    int,
    Setting("Previews every so many steps", "0 for none.", low=0, high=100_000, own=False, group=PREVIEWS),
]
PreviewSteps = Annotated[
    int, Setting("Denoising steps of a preview", "1 to 100.", low=1, high=100, own=False, group=PREVIEWS)
]
PreviewSeed = Annotated[
    int,
    Setting(
        "Seed of the first preview", "The next prompt has the next seed.", low=0, high=2**63 - 1,
        own=False, group=PREVIEWS,
    ),
]  # fmt: skip
CheckpointEvery = Annotated[
    int,
    Setting(
        "Checkpoints every so many steps", "What a power cut can cost at most.", low=1, high=100_000,
        own=False, group=PREVIEWS,
    ),
]  # fmt: skip
ReportEvery = Annotated[
    int,
    Setting(
        "Loss read every so many steps", "Reading it waits for the device.", low=1, high=1000, own=False, group=PREVIEWS
    ),
]  # fmt: skip


@settings(PlanError)
class TrainingSettings:
    """The numbers of a plan that somebody has chosen; None: the preset decides."""

    steps: Steps | None = None
    rank: Rank | None = None
    seed: Seed | None = None
    resolution_px: Resolution | None = None
    layers: Layers | None = None
    learning_rate: LearningRate | None = None
    batch: Batch | None = None
    gradient_accumulation: Accumulation | None = None
    gradient_checkpointing: Checkpointing | None = None
    quantize: Quantize | None = None
    flip: Flip | None = None
    alpha: Alpha | None = None
    opposite_every: OppositeEvery | None = None
    companions: Companions | None = None
    clip_skip: ClipSkip | None = None
    caption_dropout: CaptionDropout | None = None
    noise_offset: NoiseOffset | None = None
    # 0 is the plain loss.
    min_snr_gamma: Annotated[float, Setting(own=False)] | None = None
    warmup_fraction: WarmupFraction | None = None
    final_rate_fraction: FinalRateFraction | None = None
    unmasked_weight: UnmaskedWeight | None = None
    optimizer: OptimizerName | None = None
    weight_decay: WeightDecay | None = None
    grad_clip: GradClip | None = None
    preview_prompts: PreviewPrompts | None = None
    preview_negative: PreviewNegative | None = None
    preview_every: PreviewEvery | None = None
    preview_steps: PreviewSteps | None = None
    preview_seed: PreviewSeed | None = None
    checkpoint_every: CheckpointEvery | None = None
    report_every: ReportEvery | None = None

    def chosen(self) -> dict[str, Any]:
        """By name what the plan is to have in the place of the preset's."""
        numbers = {name: value for name, value in asdict(self).items() if value is not None}
        if self.min_snr_gamma == 0:
            numbers["min_snr_gamma"] = None
        return numbers
