"""OneTrainer's JSON, by the names that it reads in 2026."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from training.other_trainers.optimizer import take_optimizer
from training.other_trainers.settings import (
    OtherSettings,
    name_left_out,
    readable,
    take_prompt_texts,
    take_read,
)
from training.other_trainers.values import (
    OFF,
    Reading,
    as_any,
    as_count,
    as_list,
    as_number,
    as_side,
    as_text,
    as_whole,
)

ONETRAINER: dict[str, tuple[str, Reading]] = {
    "lora_rank": ("rank", as_whole),
    "lora_alpha": ("alpha", as_number),
    "batch_size": ("batch", as_whole),
    "gradient_accumulation_steps": ("gradient_accumulation", as_whole),
    "resolution": ("resolution_px", as_side),
    "offset_noise_weight": ("noise_offset", as_number),
    "clip_grad_norm": ("grad_clip", as_number),
    "unmasked_weight": ("unmasked_weight", as_number),
    "learning_rate_min_factor": ("final_rate_fraction", as_number),
}
# Parts of models that OneTrainer writes down whether a model has them or not.
ONETRAINER_PARTS = re.compile(
    r"prior|transformer|unconditional_transformer|text_encoder(_[234])?|vae|effnet_encoder|decoder.*|unet|embedding|"
    r"additional_embeddings|quantization|lokr_.*|oft_.*|dora_oft"
)
ONETRAINER_USUAL: dict[str, Any] = {
    "peft_type": "LORA", "mse_strength": 1.0, "vb_loss_strength": 1.0,
    "ema_decay": 0.999, "ema_update_step_interval": 5, "huber_delta": 1.0, "max_noising_strength": 1.0,
    "timestep_distribution": "UNIFORM", "timestep_shift": 1.0, "learning_rate_cycles": 1.0, "validate_after": 1,
    "validate_after_unit": "EPOCH", "frames": "25", "lora_decompose_norm_epsilon": True, "masked_training": True,
    "unmasked_probability": 0.0, "non_ema_sampling": True, "save_every_unit": "NEVER",
    "bundle_additional_embeddings": True, "text_encoder_sequence_length": 512, "text_encoder_2_sequence_length": 77,
}  # fmt: skip
# Read one by one below, and in which form.
ONETRAINER_ELSEWHERE: dict[str, Reading] = {
    **dict.fromkeys(
        (
            "base_model_name", "learning_rate_scheduler", "loss_weight_fn", "sample_after_unit", "layer_filter_preset",
            "training_method",
        ),
        as_text,
    ),
    **dict.fromkeys(("learning_rate", "learning_rate_warmup_steps", "loss_weight_strength"), as_number),
    **dict.fromkeys(("sample_after", "text_encoder_layer_skip"), as_whole),
    **dict.fromkeys(("samples", "concepts"), as_list),
    **dict.fromkeys(("optimizer", "gradient_checkpointing"), as_any),
    "epochs": as_count,
}  # fmt: skip


def read_onetrainer(values: Mapping[str, Any]) -> OtherSettings:
    """Read the settings of a training of OneTrainer."""
    result = OtherSettings("OneTrainer")
    values = readable(result, values, ONETRAINER_ELSEWHERE)
    for name, value in values.items():
        if name in ONETRAINER:
            here, reading = ONETRAINER[name]
            take_read(result, here, name, value, reading)
        elif ONETRAINER_PARTS.fullmatch(name) or name in ONETRAINER_ELSEWHERE:
            continue
        elif value not in OFF:
            name_left_out(result, name, value, ONETRAINER_USUAL)
    method = values.get("training_method", "LORA")
    if method != "LORA":
        result.leave_out("training_method", method)
    result.base = str(values.get("base_model_name") or "")
    result.epochs = as_count(values.get("epochs"))
    warmup = as_number(values.get("learning_rate_warmup_steps"))
    if warmup is not None and warmup <= 1:
        result.take("warmup_fraction", "learning_rate_warmup_steps", warmup)
    elif warmup:
        result.warmup_steps = int(warmup)
    part = values.get("unet")
    unet = part if isinstance(part, dict) else {}
    given = values.get("optimizer")
    optimizer = given if isinstance(given, dict) else {"optimizer": given}
    names = {"ADAMW": "AdamW", "ADAMW_8BIT": "AdamW8bit"}
    kind = str(optimizer.get("optimizer") or "ADAMW")
    read = {
        "optimizer": names.get(kind, kind),
        "unet_lr": unet.get("learning_rate"),
        "learning_rate": values.get("learning_rate"),
        "lr_scheduler": values.get("learning_rate_scheduler"),
    }
    if as_number(optimizer.get("weight_decay")) is not None:
        read["optimizer_args"] = [f"weight_decay={optimizer['weight_decay']}"]
    before = result.numbers.get("final_rate_fraction")
    take_optimizer(result, read)
    if before is not None and str(read["lr_scheduler"]).casefold() == "cosine":
        result.numbers["final_rate_fraction"] = before
    if unet.get("train") is False:
        result.leave_out("unet.train", False)
    for encoder in ("text_encoder", "text_encoder_2"):
        about = values.get(encoder)
        if isinstance(about, dict) and about.get("train"):
            result.leave_out(f"{encoder}.train", True)
    layers = {"attn-only": "cross+self", "attn-mlp": "transformer", "full": "transformer"}
    preset = str(values.get("layer_filter_preset") or "full")
    result.numbers["layers"] = layers.get(preset, "transformer")
    if preset != "attn-mlp" and preset != "attn-only":
        result.leave_out("layer_filter_preset", preset)
    checkpointing = unet.get("gradient_checkpointing", values.get("gradient_checkpointing"))
    if checkpointing is not None:
        on = checkpointing not in (False, "OFF")
        result.take("gradient_checkpointing", "gradient_checkpointing", on)
    weighing = values.get("loss_weight_fn", "CONSTANT")
    if weighing == "MIN_SNR_GAMMA":
        result.take(
            "min_snr_gamma", "loss_weight_strength", as_number(values.get("loss_weight_strength", 5.0))
        )
    elif weighing == "CONSTANT":
        result.numbers["min_snr_gamma"] = 0.0
    else:
        result.leave_out("loss_weight_fn", weighing)
    if values.get("masked_training") is False:
        result.numbers["unmasked_weight"] = 1.0
    if skip := as_whole(values.get("text_encoder_layer_skip")):
        result.take("clip_skip", "text_encoder_layer_skip", skip + 1)
    if values.get("sample_after_unit") == "STEP":
        result.take("preview_every", "sample_after", as_whole(values.get("sample_after")))
    elif values.get("sample_after_unit") not in (None, "NEVER"):
        result.leave_out("sample_after", f"{values.get('sample_after')} {values['sample_after_unit']}")
    _take_concepts(result, values.get("concepts"))
    _take_samples(result, values.get("samples"))
    return result


def _take_concepts(result: OtherSettings, concepts: Any) -> None:
    used = [one for one in concepts if isinstance(one, dict)] if isinstance(concepts, list) else []
    used = [one for one in used if one.get("enabled", True)]
    result.folders += [str(one["path"]) for one in used if one.get("path")]
    repeats = {as_number(one.get("balancing", one.get("repeats", 1.0))) or 1.0 for one in used}
    whole = as_count(next(iter(repeats))) if len(repeats) == 1 else None
    if whole:
        result.repeats = whole
    elif repeats:
        result.leave_out("concepts.balancing", ", ".join(f"{count:g}" for count in sorted(repeats)))


def _take_samples(result: OtherSettings, samples: Any) -> None:
    used = [one for one in samples if isinstance(one, dict)] if isinstance(samples, list) else []
    used = [one for one in used if one.get("enabled", True) and one.get("prompt")]
    if not used:
        return
    take_prompt_texts(
        result,
        [str(one["prompt"]) for one in used],
        [str(one.get("negative_prompt") or "") for one in used],
    )
    if steps := as_whole(used[0].get("diffusion_steps")):
        result.take("preview_steps", "samples.diffusion_steps", steps)
    if (seed := as_whole(used[0].get("seed"))) is not None and not used[0].get("random_seed"):
        result.take("preview_seed", "samples.seed", seed)
