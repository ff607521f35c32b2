"""Which family a base is of, and by its name what is none: another architecture, another task, a part of a pipeline."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from styles.errors import BaseError
from styles.families import Family, family_of_words, own_family
from styles.formats.foreign.files import AS_IT_WAS, OTHER_PARTS, is_quantized
from styles.formats.foreign.models import model_of
from styles.storage.file_reading import read_json
from styles.storage.names import clean_text
from styles.text import Text

# The classes of the parts that make a Stable Diffusion; configs of old versions don't name them.
CLASSES = {"unet": "UNet2DConditionModel", "vae": "AutoencoderKL"}
TASKS = {
    5: Text("depth"),
    7: Text("enlarging"),
    8: Text("editing by instructions"),
    9: Text("inpainting"),
}  # by the UNet's channels
REFINER_WORDS = 1280  # width of what the refiner of Stable Diffusion XL reads
# Other noise schedules than Stable Diffusion's: by what scheduler classes are called, and by tensors in single files.
SCHEDULES = {"EDM": Text("EDM, as Playground 2.5 and CosXL have it"), "FlowMatch": Text("flow matching")}
EDM_MARKS = {"edm_mean", "edm_std", "edm_vpred.sigma_max", "edm_vpred.sigma_min"}
KEYS = ".attn2.to_k.weight"
HINT = Text("Bases are Stable Diffusion 1, 2 and XL, and others that are built alike.")


def check_folder(folder: Path) -> None:
    """Raise BaseError, with its name, for a diffusers folder of another architecture or of a part alone."""
    alone = _class_of(folder / "config.json")
    if alone and not (folder / "model_index.json").exists():
        raise BaseError("{folder} is a {kind} alone, which is no base.", HINT, folder=folder.name, kind=alone)
    kind = _class_of(folder / "model_index.json")
    parts = {part: _class_of(folder / part / "config.json") for part in CLASSES}
    if kind.startswith("StableDiffusionXL") and _words_of(folder) == REFINER_WORDS:
        raise refiner(folder.name)
    missing = not (folder / "unet").is_dir()
    if kind and (missing or any(name not in ("", CLASSES[part]) for part, name in parts.items())):
        raise BaseError(
            "{folder} is a {kind}, another architecture than Stable Diffusion.",
            HINT,
            folder=folder.name,
            kind=kind,
        )


def check_file(header: Mapping[str, Any], metadata: Mapping[str, str], file: str) -> NoReturn:
    """Raise BaseError for a file without a Stable Diffusion UNet, saying what it is as far as its tensors tell."""
    if any(name.startswith("lora_") or ".lora" in name for name in header):
        raise BaseError("{file} is a style, not a base.", "Import it in the library.", file=file)
    parts = (part for mark, part in OTHER_PARTS.items() if any(re.search(mark, name) for name in header))
    shapes = {name: tuple(entry["shape"]) for name, entry in header.items()}
    if kind := next(parts, "") or model_of(shapes, metadata):
        raise BaseError("{file} holds no Stable Diffusion UNet: it is {kind}.", HINT, file=file, kind=kind)
    raise BaseError(
        "{file} holds no Stable Diffusion UNet in the original layout.",
        "Supported are checkpoints of Stable Diffusion 1, 2 and XL with UNet, VAE and text encoders in one file.",
        file=file,
    )


def check_not_quantized(names: Iterable[str], name: str) -> None:
    """Raise BaseError, saying so, for weights that another program has brought to four bits."""
    if is_quantized(names):
        raise BaseError(
            "{name} is in four bits already, as bitsandbytes and Forge save them (NF4, FP4), which can't be opened.",
            AS_IT_WAS,
            name=name,
        )


def family_of_file(width: int, file: str) -> Family:
    """Return the family of a single file whose words are so wide; raises BaseError where there is none."""
    if width == REFINER_WORDS:
        raise refiner(file)
    family = family_of_words(width)
    if family is None:
        raise BaseError(
            "{file} has a cross-attention width of {width}, which no known family has.",
            "Use it as a folder in diffusers layout, whose configs say how it is built.",
            file=file,
            width=width,
        )
    return family


def family_of_folder(unet: Mapping[str, Any], headers: Iterable[Mapping[str, Any]], name: str) -> Family:
    """Return the family of a folder by its UNet's config and the headers of its weights.

    A width of words that no family has is a family of its own, named by the layers of cross-attention. Raises BaseError.
    """
    words = unet.get("cross_attention_dim")
    if type(words) is int and (family := family_of_words(words)) is not None:
        return family
    shapes = {
        key.removesuffix(".to_k.weight"): entry["shape"]
        for header in headers
        for key, entry in header.items()
        if key.endswith(KEYS) and len(entry["shape"]) == 2
    }
    if type(words) is not int or {inputs for _, inputs in shapes.values()} != {words}:
        raise BaseError(
            "{name} says that it has a cross-attention width of {width}, which the weights of its UNet don't have.",
            "Fetch the base again.",
            name=name,
            width=clean_text(str(words), 40),
        )
    return own_family({path: outputs for path, (outputs, _) in shapes.items()}, words)


def check_channels(unet_channels: Any, latent_channels: Any, name: str) -> None:
    """Raise BaseError, with its task, where the UNet takes other channels than the VAE has."""
    if type(unet_channels) is not int or type(latent_channels) is not int:
        raise BaseError(
            "{name} is damaged: it does not say how many channels its UNet and its VAE have.",
            "Fetch the base again.",
            name=name,
        )
    if unet_channels != latent_channels:
        raise BaseError(
            "{name} is a base for another task: its UNet takes {unet_channels} channels for {latent_channels} of the VAE{task}.",
            "Use the ordinary text-to-picture version of this base.",
            name=name,
            unet_channels=unet_channels,
            latent_channels=latent_channels,
            task=Text(" ({name})", name=TASKS[unet_channels]) if unet_channels in TASKS else "",
        )


def check_schedule_of_folder(scheduler: Mapping[str, Any], name: str) -> None:
    """Raise BaseError, naming it, for another kind of noise schedule than Stable Diffusion's."""
    kind = str(scheduler.get("_class_name", ""))
    mark = next((mark for mark in SCHEDULES if mark in kind), "EDM" if "sigma_data" in scheduler else "")
    if mark:
        raise _other_schedule(name, mark)


def check_schedule_of_file(names: Iterable[str], file: str) -> None:
    """The same for a single file, by its tensors."""
    if not EDM_MARKS.isdisjoint(names):
        raise _other_schedule(file, "EDM")


def _other_schedule(name: str, mark: str) -> BaseError:
    return BaseError(
        "{name} has learnt another kind of noise schedule ({kind}), which can't be painted or trained with.",
        HINT,
        name=name,
        kind=SCHEDULES[mark],
    )


def refiner(name: str) -> BaseError:
    """Return what is raised for the refiner of Stable Diffusion XL."""
    return BaseError(
        "{name} is the refiner of Stable Diffusion XL, which only finishes pictures of another base.",
        HINT,
        name=name,
    )


def _words_of(folder: Path) -> Any:
    return _config_of(folder / "unet" / "config.json").get("cross_attention_dim")


def _class_of(path: Path) -> str:
    """The class that a config names; empty where it is not there, unreadable or names none."""
    name = _config_of(path).get("_class_name", "")
    return clean_text(name, 60) if isinstance(name, str) else ""


def _config_of(path: Path) -> dict[str, Any]:
    try:
        config = read_json(path)
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}
