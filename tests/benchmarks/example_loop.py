"""A training step as diffusers' example takes it (examples/text_to_image/train_text_to_image_lora.py), to compare with.

Pictures and captions are encoded in each step, layers of rank 4 stand on all attention, and two losses are read in it,
as the example does for its progress bar and its log.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from styles.bases.base import Base


def example_loop(base: Base, pictures: Tensor, captions: Sequence[str]) -> Callable[[], None]:
    """Put layers on a base's UNet, for good, and return one step over pictures (B, 3, H, W) on the CPU."""
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState
    from diffusers import DDPMScheduler
    from peft import LoraConfig

    AcceleratorState._reset_state(reset_partial_state=True)
    half = {torch.bfloat16: "bf16", torch.float16: "fp16"}.get(base.dtype, "no")
    accelerator = Accelerator(mixed_precision=half, cpu=base.device.type == "cpu")
    unet, vae, encoder, tokenizer = base.unet, base.vae, base.text_encoders[0], base.tokenizers[0]
    unet.requires_grad_(False)
    unet.add_adapter(
        LoraConfig(
            r=4,
            lora_alpha=4,
            init_lora_weights="gaussian",
            target_modules=["to_k", "to_q", "to_v", "to_out.0"],
        )
    )
    layers = [weight for weight in unet.parameters() if weight.requires_grad]
    for weight in layers:
        weight.data = weight.data.float()
    schedule = DDPMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type=base.prediction_type,
    )
    unet, optimizer = accelerator.prepare(unet.train(), torch.optim.AdamW(layers, lr=1e-4, weight_decay=1e-2))
    ids = tokenizer(
        list(captions), max_length=tokenizer.model_max_length, padding="max_length", truncation=True, return_tensors="pt"
    ).input_ids  # fmt: skip
    losses = 0.0

    def step() -> None:
        nonlocal losses
        with accelerator.accumulate(unet):
            pixels = pictures.to(base.device, base.dtype)
            latents = vae.encode(pixels).latent_dist.sample() * vae.config.scaling_factor
            noise = torch.randn_like(latents)
            timesteps = torch.randint(0, 1000, (len(latents),), device=latents.device).long()
            noisy = schedule.add_noise(latents, noise, timesteps)
            states = encoder(ids.to(base.device), return_dict=False)[0]
            target = (
                noise
                if base.prediction_type == "epsilon"
                else schedule.get_velocity(latents, noise, timesteps)
            )
            predicted = unet(noisy, timesteps, states, return_dict=False)[0]
            loss = F.mse_loss(predicted.float(), target.float(), reduction="mean")
            losses += accelerator.gather(loss.repeat(len(latents))).mean().item()
            accelerator.backward(loss)
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(layers, 1.0)
            optimizer.step()
            optimizer.zero_grad()
            loss.detach().item()

    return step
