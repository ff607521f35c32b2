"""How much a style changes the noise that a base predicts, over a fixed set of prompts, noises and timesteps.

The base walks from noise towards pictures by DDIM (arXiv 2010.02502), with no style on; at every place of that walk
the style's prediction is compared with the base's own. So the places are such as a base really comes by, and one walk
serves any number of styles. The first place, pure noise, is only walked: the noise there is the input itself.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from styles.bases.base import Base
from styles.bases.conditioning import Conditioning
from styles.bases.files.weight_files import sample
from styles.bases.offload import bring
from styles.bases.prediction import predict
from styles.bases.slices import in_slices
from styles.bases.stopping import models_of, stopped, stopping
from styles.bases.working_memory import denoising_bytes
from styles.devices.memory import give_back
from styles.errors import Cancelled, Failure, OutOfMemory, is_out_of_memory
from styles.formats.style import Style
from styles.generation.prompts import encode_prompts
from styles.generation.samplers import TRAINED, make_scheduler
from styles.mixing.model_patcher import blended
from styles.mixing.strength import SKETCH, Effect
from styles.quantization.quantization import PLAIN

# Words that the starter and every Stable Diffusion know. Many prompts and few places: measured on the starter, a style's
# effect on one prompt is off its mean by a quarter, while another seed changes it by a twentieth.
PROMPTS = (
    "a red house in a meadow",
    "a white cat in a room",
    "a blue boat on the sea",
    "a green tree at night",
    "a yellow flower on plain paper",
    "a brown bird at sunset",
    "an orange car in the desert",
    "a purple mushroom in the snow",
    "a pink fish among the waves",
    "a black tree on snowy hills",
    "a yellow moon under a starry night sky",
    "a teal butterfly in the evening glow",
)
SEED = 20_231_122
PLACES = 3  # that are compared, evenly over the noise levels
AT_ONCE = 4  # pictures; more would need memory that a small graphics card lacks


def effects_key(base: Base) -> str:
    """Return a sha256 over all of a base that the effects of styles on it depend on.

    Not only its UNet: how the words are cut and read, what is predicted, the noise levels and the size of the walk.
    The text encoders count by samples as their numbers are in memory, so that each precision is measured on its own.
    """
    trained = {name: base.scheduler_config.get(name) for name in TRAINED}
    facts: list[object] = [
        base.fingerprint,
        base.prediction_type,
        base.zero_terminal_snr,
        base.native_size_px,
        trained,
    ]
    if base.quantize != PLAIN:
        facts.append(base.quantize)
    read = [
        tokenizer(
            list(PROMPTS), padding="max_length", max_length=tokenizer.model_max_length, truncation=True
        ).input_ids
        for tokenizer in base.tokenizers
    ]
    digest = hashlib.sha256(json.dumps([facts, read], sort_keys=True, default=str).encode())
    for encoder in base.text_encoders:
        for values in encoder.parameters():
            digest.update(sample(values))
    return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class ProbePoint:
    """One place of the walk: a batch of noisy latents and what the base alone predicts there."""

    timestep: Tensor
    inputs: Tensor  # (B, C, h, w) in the base's dtype
    prediction: Tensor  # (B, C, h, w) fp32, as the base gives it
    share: Tensor  # (B, 1, 1, 1): how much of a change of the prediction is a relative change of the noise


@dataclass(frozen=True, eq=False)
class Probe:
    """The walk of one base, to be compared with at any time while the base is open."""

    base: Base
    prompts: tuple[str, ...]
    conditioning: Conditioning
    places: tuple[ProbePoint, ...]

    @torch.no_grad()
    def change(
        self, styles: Sequence[Style], weights: Sequence[float], cancelled: Callable[[], bool] = lambda: False
    ) -> Tensor:
        """Return what the styles change of the predicted noise at the weights, relative to its size.

        (places, B, C, h, w) in fp32, so scaled that its Euclidean norm is the root mean square of the relative
        changes of all places and prompts. Raises WrongFamilyError, BlendError, Cancelled.
        """
        changes = []
        with stopping(models_of(self.base), cancelled, stopped), blended(self.base, styles) as mix:
            mix.set_gains(list(weights))
            words = any(layer.network != "unet" for style in styles for layer in style.layers)
            conditioning = _encoded(self.base, self.prompts) if words else self.conditioning
            for place in self.places:
                if cancelled():
                    raise Cancelled("Stopped while measuring how strong a style is.")
                now = _predict(self.base, place.inputs, place.timestep, conditioning, cancelled)
                change = now - place.prediction
                changes.append(change * place.share)
        whole = torch.stack(changes)  # (places, B, C, h, w)
        return whole / (len(self.places) * len(self.prompts)) ** 0.5

    def effect(self, style: Style, cancelled: Callable[[], bool] = lambda: False) -> Effect:
        """Measure one style where it has its full effect, and say what that comes to at weight 1.

        First at weight 1, which tells about where that is: what a style changes is not quite proportional to its
        weight. Raises Failure where no numbers come out, besides what `change` raises.
        """
        weight = 1.0
        for _ in range(2):
            change = self.change((style,), (weight,), cancelled).flatten().cpu() / weight
            rough = Effect(float(change.norm()), ())
            if not 0 < rough.size < math.inf:
                break
            weight = rough.weight_for(1.0)
        if not bool(torch.isfinite(change).all()):
            raise Failure(
                "How strong “{style}” is can't be measured: on “{base}” it gives no numbers (NaN).",
                "Mix by weight alone."
                if self.base.dtype == torch.float32
                else "Choose fp32 as the precision, in the settings, or mix by weight alone.",
                style=style.name,
                base=self.base.name,
            )
        return Effect(float(change.norm()), tuple(_sketch(change)))


def walk(
    base: Base,
    prompts: Sequence[str] = PROMPTS,
    seed: int = SEED,
    places: int = PLACES,
    cancelled: Callable[[], bool] = lambda: False,
) -> Probe:
    """Let the base walk once, which costs a prediction for each prompt and place, and one more. Raises Cancelled."""
    with stopping(models_of(base), cancelled, stopped):
        return _walk(base, prompts, seed, places, cancelled)


def _walk(base: Base, prompts: Sequence[str], seed: int, places: int, cancelled: Callable[[], bool]) -> Probe:
    conditioning = _encoded(base, prompts)
    scheduler = make_scheduler(base, "ddim")
    # Evenly down from pure noise: the last place would else be so clean that no style shows there.
    scheduler = type(scheduler).from_config(scheduler.config, timestep_spacing="trailing")
    scheduler.set_timesteps(places + 1)
    side = base.native_size_px // base.vae_factor
    generators = [torch.Generator().manual_seed(seed + index) for index in range(len(prompts))]
    shape = (base.latent_channels, side, side)
    latents = torch.stack([torch.randn(shape, generator=generator) for generator in generators])
    latents = latents.to(base.device) * scheduler.init_noise_sigma
    effects = []
    timesteps = scheduler.timesteps.to(base.device)
    for timestep, on_device in zip(scheduler.timesteps, timesteps, strict=True):
        if cancelled():
            raise Cancelled("Stopped while measuring how strong a style is.")
        inputs = scheduler.scale_model_input(latents, timestep).to(base.dtype)
        prediction = _predict(base, inputs, on_device, conditioning, cancelled)
        signal = float(scheduler.alphas_cumprod[int(timestep)]) ** 0.5
        effects.append(ProbePoint(on_device, inputs, prediction, _share(base, latents, prediction, signal)))
        latents = scheduler.step(prediction, timestep, latents).prev_sample
    return Probe(base, tuple(prompts), conditioning, tuple(effects[1:]))


def _encoded(base: Base, prompts: Sequence[str]) -> Conditioning:
    return encode_prompts(base, prompts).sized_as(base.native_size_px, base.native_size_px)


@torch.no_grad()
def _predict(
    base: Base, inputs: Tensor, timestep: Tensor, conditioning: Conditioning, cancelled: Callable[[], bool]
) -> Tensor:
    """(B, C, h, w) fp32; in smaller batches where memory demands it. Raises OutOfMemory."""
    at_once = min(AT_ONCE, len(inputs))
    latents = inputs.shape[-2] * inputs.shape[-1]
    bring(base, base.unet, work_bytes=denoising_bytes(base.unet, latents, at_once))
    while True:
        try:
            with in_slices(base, latents, at_once, cancelled):
                parts = [
                    predict(base.unet, some, timestep, words)
                    for some, words in zip(inputs.split(at_once), conditioning.split(at_once), strict=True)
                ]
            return torch.cat(parts)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            if at_once == 1:
                raise OutOfMemory(
                    "{device} has too little memory to measure how strong a style is.",
                    "Close other programs, or mix by weight alone.",
                    device=base.device,
                ) from error
        at_once //= 2  # after the block, where nothing holds the failed batch any more
        give_back(base.device)


def _share(base: Base, latents: Tensor, prediction: Tensor, signal: float) -> Tensor:
    """(B, 1, 1, 1): what a change of the prediction of size 1 changes of the noise, relative to the noise's size."""
    noise, share = prediction, 1.0
    if base.prediction_type == "v_prediction":  # arXiv 2202.00512, appendix D
        noise, share = signal * prediction + (1 - signal**2) ** 0.5 * latents, signal
    return share / torch.linalg.vector_norm(noise, dim=(1, 2, 3), keepdim=True).clamp_min(1e-12)


def _sketch(change: Tensor) -> list[float]:
    """Project a change onto a few random directions, always the same: angles between two styles' changes survive.

    (Johnson-Lindenstrauss: a cosine is off by about 1 / sqrt(SKETCH).) As long as the change itself.
    """
    generator = torch.Generator().manual_seed(SEED)
    sketch = torch.zeros(SKETCH)
    for row in range(SKETCH):  # a row at a time: all directions at once would take SKETCH times the memory
        signs = torch.randint(0, 2, change.shape, generator=generator, dtype=torch.int8)
        sketch[row] = torch.where(signs.bool(), change, -change).sum()
    size = float(sketch.norm())
    return (sketch * (float(change.norm()) / size)).tolist() if size else sketch.tolist()
