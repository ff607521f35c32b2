"""All that the Train room asks of an artist, as plain values: to an order, and what each number is for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from app.i18n import say, unsaid
from app.orders import TrainingOrder
from app.train.trainings import suggested_trigger
from styles.errors import BadInput
from training.plan import TrainingPlan

Kind = Literal["whole", "real", "yes or no", "layers", "prompts"]
YES_OR_NO = {
    "yes": True,
    "true": True,
    "on": True,
    "1": True,
    "no": False,
    "false": False,
    "off": False,
    "0": False,
}
OFF = ("off", "0", "0.0")
CAN_BE_OFF: dict[str, Any] = {
    "min_snr_gamma": None,
    "companions": (),
    "preview_prompts": (),
}  # and what the plan then holds


@dataclass(frozen=True)
class Number:
    """One value of the plan under Advanced: its name there, what it is called, with its unit, and one line of help."""

    name: str
    kind: Kind
    label: str
    help: str


GROUPS: tuple[tuple[str, tuple[Number, ...]], ...] = (
    (
        unsaid("Length"),
        (
            Number("steps", "whole", unsaid("Steps of training"), unsaid("How often the style is corrected. Too many copy the artworks.")),
            Number("learning_rate", "real", unsaid("Learning rate, 0 to 0.1"), unsaid("How large each correction is. Halve it if the pictures fall apart.")),
            Number("rank", "whole", unsaid("Rank, 1 to 128"), unsaid("How much the style can hold. More makes a larger file.")),
            Number("alpha", "real", unsaid("Alpha"), unsaid("The style's strength is alpha divided by rank; usually both are equal.")),
            Number("layers", "layers", unsaid("Layers to train"), unsaid("Cross-attention follows the words; with self-attention it follows the artworks more closely.")),
            Number("seed", "whole", unsaid("Training seed"), unsaid("The same seed gives the same style again.")),
        ),
    ),
    (
        unsaid("Memory"),
        (
            Number("batch", "whole", unsaid("Batch in pictures"), unsaid("How many are looked at together. More is steadier and takes more memory.")),
            Number("gradient_accumulation", "whole", unsaid("Gradient accumulation in batches"), unsaid("Batches to one step: as steady as a large batch, without its memory.")),
            Number("resolution_px", "whole", unsaid("Resolution in pixels"), unsaid("Side of the square whose area every artwork gets; the base's own is best.")),
            Number("gradient_checkpointing", "yes or no", unsaid("Gradient checkpointing"), unsaid("Much less memory, a third slower.")),
        ),
    ),
    (
        unsaid("Finer points"),
        (
            Number("flip", "yes or no", unsaid("Show the artworks mirrored, too"), unsaid("Not with lettering or signatures.")),
            Number("opposite_every", "whole", unsaid("An opposite step every so many steps"), unsaid("Teaches the slider to take away below 0 what it adds above; 0 for none.")),
            Number("companions", "prompts", unsaid("Words beside the trigger, a line for each"), unsaid("For artworks without a caption: one line, drawn anew each time; “off” for none.")),
            Number("caption_dropout", "real", unsaid("Caption dropout, 0 to 1"), unsaid("Share of pictures shown without their caption.")),
            Number("noise_offset", "real", unsaid("Noise offset, 0 to 0.5"), unsaid("Teaches very dark and very light pictures; only bases that predict noise.")),
            Number("min_snr_gamma", "real", unsaid("Min-SNR gamma"), unsaid("Weighs light and heavy noise alike; “off” for the plain loss.")),
            Number("warmup_fraction", "real", unsaid("Warm-up, 0 to 0.5 of all steps"), unsaid("How long the learning rate rises before it falls.")),
            Number("final_rate_fraction", "real", unsaid("Last learning rate, 0 to 1 of the highest"), unsaid("Where the learning rate ends.")),
            Number("weight_decay", "real", unsaid("Weight decay, 0 to 1"), unsaid("Pulls the style back towards nothing.")),
            Number("grad_clip", "real", unsaid("Gradient clipping, norm"), unsaid("The largest correction that is let through.")),
        ),
    ),
    (
        unsaid("Previews"),
        (
            Number("preview_prompts", "prompts", unsaid("Preview prompts, one on each line"), unsaid("At most 8; each costs time at every preview.")),
            Number("preview_every", "whole", unsaid("Previews every so many steps"), unsaid("0 for none.")),
            Number("preview_steps", "whole", unsaid("Denoising steps of a preview"), unsaid("1 to 100.")),
            Number("preview_seed", "whole", unsaid("Seed of the first preview"), unsaid("The next prompt has the next seed.")),
            Number("checkpoint_every", "whole", unsaid("Checkpoints every so many steps"), unsaid("What a power cut can cost at most.")),
            Number("report_every", "whole", unsaid("Loss read every so many steps"), unsaid("Reading it waits for the device.")),
        ),
    ),
)  # fmt: skip
NUMBERS = {number.name: number for _, numbers in GROUPS for number in numbers}
# The rest of the plan: asked for above Advanced or on the card, or decided by the base.
ELSEWHERE = (
    "name",
    "trigger",
    "preset",
    "base",
    "base_family",
    "continue_from",
    "author",
    "licence",
    "rights",
)
WORDS = ("name", "trigger", "preset", "base", "continue_from", "author", "licence", "rights")
EMPTY: dict[str, Any] = dict.fromkeys((*WORDS, *NUMBERS), "")
FRESH = EMPTY | {"preset": "balanced", "layers": "cross"}


def form_of(kept: Mapping[str, Any]) -> dict[str, Any]:
    """A form as it was kept, whole: what is missing or of another kind is as on a fresh page."""
    return {
        name: kept[name] if type(kept.get(name)) is type(fresh) else fresh for name, fresh in FRESH.items()
    }


def resolution_of(form: Mapping[str, Any]) -> int | None:
    """The resolution in px that a form asks for; None where it says none, or nothing of sense yet."""
    text = str(form["resolution_px"]).strip()
    return int(text) if text.isdecimal() and 64 <= int(text) <= 2048 else None


def trigger_of(form: Mapping[str, Any]) -> str:
    """The trigger word that a form comes to; empty before there is a name."""
    name, trigger = str(form["name"]).strip(), str(form["trigger"]).strip()
    return trigger or (suggested_trigger(name) if name else "")


def order_of(form: Mapping[str, Any], pictures: Sequence[Path]) -> TrainingOrder:
    """The order that a form comes to; raises BadInput for what is no number and for an empty draft."""
    begun = str(form["continue_from"] or "")
    numbers = numbers_in(form)
    if begun:
        numbers.pop("layers", None)  # it has its own
    return TrainingOrder(
        name=form["name"], pictures=tuple(pictures), base=form["base"].strip(), preset=form["preset"],
        trigger=form["trigger"], author=form["author"], licence=form["licence"], rights=form["rights"],
        continue_from=begun, numbers=numbers,
    )  # fmt: skip


def numbers_in(form: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of the plan that a form gives, without those that the preset decides; raises BadInput."""
    numbers = {
        number.name: value for number in NUMBERS.values() if (value := value_of(number, form)) is not None
    }
    return numbers | {name: none for name, none in CAN_BE_OFF.items() if _is_off(name, form)}


def _is_off(name: str, form: Mapping[str, Any]) -> bool:
    return name in CAN_BE_OFF and str(form[name]).strip().casefold() in OFF


def numbers_from(settings: Iterable[str]) -> dict[str, Any]:
    """The same from texts like `preview_every=50`; prompts may come one by one. Raises BadInput."""
    form = dict(EMPTY)
    for setting in settings:
        name, _, text = setting.partition("=")
        name, text = name.strip().replace("-", "_"), text.strip()
        if not text or name not in NUMBERS:
            raise BadInput(
                "“{setting}” is nothing that a training can be told.",
                "Write it as NAME=VALUE, such as preview_every=50. The names are {numbers}.",
                setting=setting[:80],
                numbers=", ".join(NUMBERS),
            )
        if NUMBERS[name].kind == "yes or no" and text.casefold() not in YES_OR_NO:
            raise BadInput("“{setting}” is neither yes nor no.", "Write yes or no.", setting=setting[:80])
        form[name] = f"{form[name]}\n{text}" if NUMBERS[name].kind == "prompts" else text
    return numbers_in(form)


def value_of(number: Number, form: Mapping[str, Any]) -> Any:
    """What a form says of one number, None where the preset decides; raises BadInput."""
    given = form[number.name]
    text = str(given or "").strip()
    if not text or _is_off(number.name, form):
        return None
    if number.kind == "yes or no":
        return YES_OR_NO[text.casefold()]
    if number.kind == "layers":
        return text
    if number.kind == "prompts":
        return tuple(line.strip() for line in text.splitlines() if line.strip())
    try:
        return int(text) if number.kind == "whole" else float(text.replace(",", "."))
    except ValueError:
        hint = "Write digits only." if number.kind == "whole" else "Write it like 512 or 0.5."
        raise BadInput(
            "{label}: “{text}” is no such number.", hint, label=say(number.label), text=text[:40]
        ) from None


def shown_of(plan: TrainingPlan, number: Number) -> str:
    """What the plan of a preset says, in grey where nothing is written."""
    value = getattr(plan, number.name)
    if number.name == "resolution_px" and not value:
        return say("the base's own")
    if number.kind == "prompts":
        return "\n".join(value) or "off"
    return "off" if value is None else f"{value:g}" if isinstance(value, float) else f"{value}"
