"""What an artist settles for a base: what its file can't prove of its predictions, and a VAE instead of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from styles.errors import BaseError
from styles.families import Family
from styles.storage.file_reading import read_bytes
from styles.storage.names import clean_text
from styles.text import Text

PREDICTION_TYPES = ("epsilon", "v_prediction")


@dataclass(frozen=True)
class BaseSettings:
    """None leaves it to the base's own files."""

    prediction_type: str | None = None  # "epsilon" | "v_prediction"
    zero_terminal_snr: bool | None = None
    vae: Path | None = None  # a file or folder
    quantize: str | None = None  # of styles.quantization, "none" as it is


UNSET = BaseSettings()


@dataclass(frozen=True)
class Prediction:
    """What a base has learnt; `notes` says what was taken for granted."""

    type: str  # "epsilon" | "v_prediction"
    zero_terminal_snr: bool
    notes: tuple[Text, ...] = ()


def prediction_of_folder(scheduler: Mapping[str, Any], settings: BaseSettings, name: str) -> Prediction:
    """Return what a scheduler's config says; raises BaseError for another kind, or where `settings` say otherwise."""
    # An older config without the key means what its class has as default, which is epsilon in all of them.
    stated = scheduler.get("prediction_type", "epsilon")
    if stated not in PREDICTION_TYPES:
        raise BaseError(
            "{folder} predicts “{prediction_type}”, which is not supported.",
            "Bases of these kinds are: {prediction_types}.",
            folder=name,
            prediction_type=clean_text(str(stated), 40),
            prediction_types=", ".join(PREDICTION_TYPES),
        )
    zero_snr = scheduler.get("rescale_betas_zero_snr")
    return _agreed(stated, None if zero_snr is None else bool(zero_snr), settings, name)


def prediction_of_file(
    path: Path, header: Mapping[str, Any], metadata: Mapping[str, str], family: Family, settings: BaseSettings
) -> Prediction:
    """Return what a single file carries as proof, else what `settings` say, else what its family mostly is.

    Proof is: marker tensors `v_pred` and `ztsnr` (NovelAI's convention), the `modelspec` metadata, and the
    YAML config that stands beside the file under the same name (A1111's convention). Raises BaseError.
    """
    proof, zero_snr = _proof(path, header, metadata)
    if proof is not None:
        return _agreed(proof, zero_snr, settings, path.name)
    if settings.prediction_type is not None:
        note = Text(
            "You said that this base predicts {requested}; the file doesn't say.",
            requested=settings.prediction_type,
        )
        return _agreed(settings.prediction_type, zero_snr, settings, path.name, note)
    if family.says_prediction:
        raise BaseError(
            "{file} is a {family}, and the file doesn't say whether it predicts noise or velocity.",
            "Say which: v_prediction for those made at 768 px (2.0-v, 2.1), epsilon for those at 512 px (2-base).",
            file=path.name,
            family=family.name,
        )
    note = Text(
        "The file doesn't say what it predicts; like most of its family, it was taken for epsilon. If its pictures are nothing but noise, add it again as v_prediction."
    )
    return _agreed("epsilon", zero_snr, settings, path.name, note)


def check_known(settings: BaseSettings) -> None:
    """Raise BaseError for a prediction type that there is not."""
    if settings.prediction_type is not None and settings.prediction_type not in PREDICTION_TYPES:
        raise BaseError(
            "“{prediction_type}” is no prediction type.",
            "Give one of: {prediction_types}.",
            prediction_type=settings.prediction_type,
            prediction_types=", ".join(PREDICTION_TYPES),
        )


def _agreed(
    proven: str, zero_snr: bool | None, settings: BaseSettings, name: str, *notes: Text
) -> Prediction:
    """What the files prove, and of zero terminal SNR what the artist says where they don't; raises BaseError."""
    if settings.prediction_type not in (None, proven):
        raise BaseError(
            "{name} predicts {proven}, not {requested}.",
            "Leave the prediction type out.",
            name=name,
            proven=proven,
            requested=settings.prediction_type,
        )
    stated = settings.zero_terminal_snr
    if stated is not None and zero_snr is not None and stated != zero_snr:
        raise BaseError(
            "{name} says itself whether its noise schedule ends without any signal (zero terminal SNR).",
            "Leave zero terminal SNR out.",
            name=name,
        )
    if stated and proven == "epsilon":
        raise BaseError(
            "{name} predicts epsilon, with which zero terminal SNR can't be.",
            "Say that it predicts v_prediction, or leave zero terminal SNR out.",
            name=name,
        )
    return Prediction(proven, bool(zero_snr if stated is None else stated), notes)


def _proof(
    path: Path, header: Mapping[str, Any], metadata: Mapping[str, str]
) -> tuple[str | None, bool | None]:
    """What a single file proves of its prediction type and of zero terminal SNR; None where it doesn't say."""
    zero_snr = True if "ztsnr" in header else None
    if "v_pred" in header:
        return "v_prediction", zero_snr
    stated = metadata.get("modelspec.prediction_type", "").lower()
    if stated in ("v", "v_prediction", "v-prediction"):
        return "v_prediction", zero_snr
    if stated in ("epsilon", "eps"):
        return "epsilon", zero_snr
    architecture = metadata.get("modelspec.architecture", "").lower()
    if architecture.startswith("stable-diffusion-v2"):
        return ("v_prediction" if architecture.split("/")[0].endswith("-v") else "epsilon"), zero_snr
    if text := _text_beside(path.with_suffix(".yaml")):
        if "zero_terminal_snr: true" in text.lower():
            zero_snr = True
        return ("v_prediction" if "parameterization: v" in text else "epsilon"), zero_snr
    return None, zero_snr


def _text_beside(file: Path) -> str:
    """The text of a small file without quotation marks; empty where there is none."""
    try:
        text = read_bytes(file, 1 << 20).decode("utf-8", errors="replace")
        return text.replace('"', "").replace("'", "")
    except OSError:
        return ""
