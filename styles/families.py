"""What the families of Stable Diffusion differ in: one `Family` each, and everything that differs stands in it.

It stands below the rooms, beside `errors.py`, since all of them ask: `formats` proves a file's family by its shapes and
names it in metadata, `bases` opens one, `library`, `training` and the window need its names and numbers. Cards, plans
and recipes hold the `id`, and `family_of` gives the rest. What a base's own files say (its size in pixels, what it
predicts, the scale of its latents) is no family's.

To add a family: an instance here, its id in `FAMILIES`, its configs in `styles/bases/files/configs`, and a row in
`tests/styles/test_families.py`, which compares its layers with those of the real networks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from styles.text import Text


@dataclass(frozen=True)
class UNetShape:
    """The numbers that the layers of a UNet follow from (diffusers, UNet2DConditionModel)."""

    channels: tuple[int, ...]  # of each level, from the top
    depth: tuple[int, ...]  # transformer layers of each level's attention; 0 where it has none
    middle: int  # the same of the block in the middle
    resnets: int  # per level on the way down; one more on the way up
    latents: int = 4  # channels
    added: int = 0  # width of the conditions that are embedded beside the time
    linear: bool = False  # proj_in and proj_out are linear layers, else 1x1 convolutions


@dataclass(frozen=True)
class TextEncoder:
    """A CLIP text model: how prompts become states."""

    network: str  # what styles call it
    part: str  # its folder in diffusers layout
    width: int
    inner: int  # width of its MLP
    layers: int
    # OpenCLIP's files hold the attention's q, k and v as one matrix, which A1111 changes only as a whole.
    open_clip: bool = False
    # Projects what it read of the whole prompt, which is a condition beside the time.
    projects: bool = False
    # The tensor with its rows in files of textual inversion; empty for a family's only one, which needs no name.
    embedding: str = ""


@dataclass(frozen=True)
class Licence:
    """What whoever fetches a recommended base accepts."""

    name: str
    url: str


@dataclass(frozen=True)
class Family:
    """One family of bases; the styles of one fit its bases."""

    id: str
    name: str  # as it stands in a sentence
    badge: str  # a word or two
    made_for: Text  # what a style of it is
    words: int = 0  # width of the text states that cross-attention reads; 0 where nothing is known
    unet: UNetShape | None = None  # None where only a base's own files tell
    text_encoders: tuple[TextEncoder, ...] = ()
    # Blocks of the lowest level that carry colour and brushwork, not what is where (B-LoRA, arXiv 2403.14572).
    surface_blocks: tuple[str, ...] = ()
    can_open: bool = True
    is_own: bool = False  # somebody's own: its layers are known by their widths alone
    known_elsewhere: bool = True  # other programs have its bases, too
    original_block_names: bool = (
        False  # sd-scripts writes a style's blocks as the original checkpoints name them
    )

    # Single files: what they don't say.
    config: str = ""  # folder in styles/bases/files/configs
    config_of_v: str = ""  # the same for a base that predicts velocity, where it is another
    says_prediction: bool = False  # both kinds are about, so that a file has to say which it is

    # GB that a picture of a base's own size takes of a card in half precision, with two styles: with all of the base
    # there, and at the least with those parts that are at work. By tests/benchmarks/painting_memory.py; 0: not counted.
    painting_gb: tuple[float, float] = (0.0, 0.0)
    # The same with the base as NF4.
    painting_nf4_gb: tuple[float, float] = (0.0, 0.0)
    guidance: float = 7.5
    guidance_rescale: float = 0.7  # where the base has zero terminal SNR (arXiv 2305.08891)
    bucket_step_px: int = 1  # the sides of training pictures divide by it, whatever its networks ask for
    presets: str = "large"  # of trainings, and their preview prompts, in training/plan.py

    # Metadata: `ss_base_model_version` and `ss_v2` of kohya, `modelspec.architecture`, `sd version` of A1111's cards.
    kohya_version: str = ""
    kohya_version_of_v: str = ""
    kohya_v2: bool = False
    modelspec: str = ""
    modelspec_of_v: str = ""
    modelspec_begins: str = ""  # all that name this family
    card_version: str = "Unknown"

    licence: Licence | None = None  # of the recommended bases

    def base_version(self, predicts_velocity: bool) -> str:
        """Return kohya's name of it."""
        return (predicts_velocity and self.kohya_version_of_v) or self.kohya_version

    def architecture(self, predicts_velocity: bool) -> str:
        """Return modelspec's name of it."""
        return (predicts_velocity and self.modelspec_of_v) or self.modelspec

    def config_folder(self, predicts_velocity: bool) -> str:
        """Return the name of the folder with the configs of its single files."""
        return (predicts_velocity and self.config_of_v) or self.config

    def has(self, layers: Mapping[str, int], words: int) -> bool:
        """Whether layers of cross-attention, widths by path, may be of a base of somebody's own of this family."""
        levels, blocks = _levels(layers), int(self.id.rpartition("-")[2])
        widths = self.id.removeprefix("own-").partition("x")[0].split("-")
        return (
            words == self.words and len(layers) <= blocks and {str(width) for width in levels} <= set(widths)
        )

    def is_meant_by(self, name: str) -> bool:
        """Whether who looks for families by that name means this one: by its id, or as one of somebody's own."""
        return name == self.id or (name == OWN_BASES and self.is_own)

    def encoder(self, network: str) -> TextEncoder | None:
        """Return the text encoder that styles call so."""
        return next((encoder for encoder in self.text_encoders if encoder.network == network), None)


STARTER = Family(
    "starter",
    Text("the starter model"),
    Text("Starter"),
    Text("practice style for the starter model"),
    words=256,
    unet=UNetShape((64, 128, 192), (2, 2, 1), 1, 1, latents=8),
    text_encoders=(TextEncoder("te", "text_encoder", 256, 768, 4),),
    known_elsewhere=False,
    # By tests/benchmarks/learning.py and the starter's exam: more drowns a style, less a subject. It needs no rescale.
    guidance=1.75,
    guidance_rescale=0.0,
    presets="starter",
    kohya_version="atelier_starter",
    modelspec="atelier-starter",
    modelspec_begins="atelier-starter",
)


def _style_for(name: str) -> Text:
    return Text("style for {family}", family=name)


SD1 = Family(
    "sd1",
    "Stable Diffusion 1",
    "SD 1",
    _style_for("Stable Diffusion 1"),
    words=768,
    unet=UNetShape((320, 640, 1280, 1280), (1, 1, 1, 0), 1, 2),
    text_encoders=(TextEncoder("te", "text_encoder", 768, 3072, 12),),
    config="sd1",
    kohya_version="sd_v1",
    modelspec="stable-diffusion-v1",
    modelspec_begins="stable-diffusion-v1",
    card_version="SD1",
    licence=Licence(
        "CreativeML Open RAIL-M", "https://huggingface.co/spaces/CompVis/stable-diffusion-license"
    ),
    painting_gb=(3.8, 2.4),
    painting_nf4_gb=(3.4, 2.0),
)

SD2 = Family(
    "sd2",
    "Stable Diffusion 2",
    "SD 2",
    _style_for("Stable Diffusion 2"),
    words=1024,
    unet=UNetShape((320, 640, 1280, 1280), (1, 1, 1, 0), 1, 2, linear=True),
    text_encoders=(TextEncoder("te", "text_encoder", 1024, 4096, 23, open_clip=True),),
    config="sd2",
    config_of_v="sd2-v",
    says_prediction=True,
    kohya_version="sd_v2",
    kohya_version_of_v="sd_v2_v",
    kohya_v2=True,
    modelspec="stable-diffusion-v2-512",
    modelspec_of_v="stable-diffusion-v2-768-v",
    modelspec_begins="stable-diffusion-v2",
    card_version="SD2",
    licence=Licence(
        "CreativeML Open RAIL++-M",
        "https://huggingface.co/stabilityai/stable-diffusion-2/blob/main/LICENSE-MODEL",
    ),
    painting_gb=(4.3, 2.5),
    painting_nf4_gb=(3.9, 2.1),
)

SDXL = Family(
    "sdxl",
    "Stable Diffusion XL",
    "SDXL",
    _style_for("Stable Diffusion XL"),
    words=2048,
    unet=UNetShape((320, 640, 1280), (0, 2, 10), 10, 2, added=2816, linear=True),
    text_encoders=(
        TextEncoder("te1", "text_encoder", 768, 3072, 12, embedding="clip_l"),
        TextEncoder(
            "te2", "text_encoder_2", 1280, 5120, 32, open_clip=True, projects=True, embedding="clip_g"
        ),
    ),
    surface_blocks=("up_blocks.0.attentions.1.",),
    # The default of diffusers' own pipeline.
    guidance=5.0,
    bucket_step_px=64,
    presets="xl",
    original_block_names=True,
    config="sdxl",
    kohya_version="sdxl_base_v1-0",
    modelspec="stable-diffusion-xl-v1-base",
    modelspec_begins="stable-diffusion-xl-v1",
    card_version="SDXL",
    licence=Licence(
        "CreativeML Open RAIL++-M",
        "https://huggingface.co/stabilityai/stable-diffusion-xl-base-1.0/blob/main/LICENSE.md",
    ),
    painting_gb=(12.1, 6.3),
    painting_nf4_gb=(8.8, 3.0),
)

UNKNOWN = Family(
    "unknown",
    Text("a base that it does not name"),
    Text("Base unknown"),
    _style_for(Text("a base that it does not name")),
    can_open=False,
    modelspec="unknown",
)

FAMILIES: Mapping[str, Family] = {family.id: family for family in (STARTER, SD1, SD2, SDXL)}

OWN_BASES = "own"  # all families of somebody's own together

# Of somebody's own: the widths of the levels with cross-attention from the top, that of the words, and how many
# cross-attention layers there are in all. Each of its styles and its UNet alike show all of it.
OWN = re.compile(r"own-(\d{1,5}(?:-\d{1,5}){0,7})x(\d{1,5})-(\d{1,4})")
OWN_NAMED = re.compile(rf"atelier.({OWN.pattern})(?:/.*)?")
DOWN_LEVEL = re.compile(r"down_blocks\.(\d{1,2})\.")


def family_of(family_id: str) -> Family:
    """Return the family of that id; `UNKNOWN` for what is none."""
    if family_id in FAMILIES:
        return FAMILIES[family_id]
    return _own(family_id) if OWN.fullmatch(family_id) else UNKNOWN


def family_of_words(width: int) -> Family | None:
    """Return the family whose cross-attention reads words so wide; None where only somebody's own base does."""
    return next((family for family in FAMILIES.values() if family.words == width), None)


def own_family(layers: Mapping[str, int], words: int) -> Family:
    """Return the family of a base of somebody's own, by the width of each cross-attention layer of its UNet.

    `layers` holds the widths by the layers' paths, such as `down_blocks.0.attentions.0.transformer_blocks.0.attn2`.
    """
    return family_of(f"own-{'-'.join(map(str, _levels(layers)))}x{words}-{len(layers)}")


def named_family(version: str, architecture: str) -> Family:
    """Return the family that kohya's and modelspec's names stand for; `UNKNOWN` for any other."""
    for family in FAMILIES.values():
        if version.startswith(family.kohya_version) or architecture.startswith(family.modelspec_begins):
            return family
    at = OWN_NAMED.fullmatch(version) or OWN_NAMED.fullmatch(architecture)
    return family_of(at[1]) if at else UNKNOWN


def _levels(layers: Mapping[str, int]) -> list[int]:
    """Return the widths of the levels that have some of these layers, from the top."""
    widths = {int(at[1]): width for path, width in layers.items() if (at := DOWN_LEVEL.match(path))}
    return [widths[level] for level in sorted(widths)] or sorted(set(layers.values()))


@lru_cache(maxsize=256)
def _own(family_id: str) -> Family:
    at = OWN.fullmatch(family_id)
    assert at is not None
    name = Text("a Stable Diffusion of somebody's own ({family})", family=family_id)
    return Family(
        family_id,
        name,
        family_id,
        _style_for(name),
        words=int(at[2]),
        is_own=True,
        known_elsewhere=False,
        kohya_version=f"atelier_{family_id}",
        modelspec=f"atelier-{family_id}",
    )
