"""Fetching bases from the Hugging Face Hub into the artist's own folder."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from styles.errors import BaseError, OfflineError
from styles.storage.atomic import disk_errors
from styles.storage.file_reading import read_json
from styles.storage.home import Home
from styles.text import Text

Progress = Callable[[str, float], None]  # (what is going on, share done 0..1)
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
PARTS = (
    "unet", "vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "scheduler", "safety_checker",
    "feature_extractor",
)  # fmt: skip
CLIP_ID = "openai/clip-vit-large-patch14"
CLIP_WORDS = 49408  # in the vocabulary that all Stable Diffusions share
CLIP_FILES = ("vocab.json", "merges.txt")


def is_hub_id(text: str) -> bool:
    """Say whether the text has the form of a Hub id, as `owner/name`."""
    return bool(HUB_ID.fullmatch(text)) and ".." not in text and "--" not in text


def hub_folder(hub_id: str, home: Home) -> Path:
    """Return the folder that a Hub base is kept in."""
    return home.bases / hub_id.replace("/", "--")


def fetch_base(
    hub_id: str, home: Home, progress: Progress | None = None, *, endpoint: str | None = None
) -> Path:
    """Download a base's safetensors and configs (the fp16 variant where there is one) and return its folder.

    An interrupted download goes on where it stopped. Raises OfflineError without a network, BaseError for an
    unknown id or one without safetensors.
    """
    from huggingface_hub import HfApi, hf_hub_download

    folder = hub_folder(hub_id, home)
    with _telling(hub_id):
        info = HfApi(endpoint=endpoint).model_info(hub_id, files_metadata=True)
        sizes = {file.rfilename: int(file.size or 0) for file in info.siblings or ()}
        files = wanted_files(sizes)
        if not any(name.startswith("unet/") and name.endswith(".safetensors") for name in files):
            raise BaseError(
                "{hub_id} has no UNet as safetensors, and pickled weights are not opened.",
                "Choose a base in diffusers layout with safetensors.",
                hub_id=hub_id,
            )
        total, done = sum(sizes[name] for name in files) or 1, 0
        # The index comes last: a folder without it is not yet a base.
        for name in sorted(files, key=lambda name: (name == "model_index.json", name)):
            meter = _meter(progress, Text("Fetching {hub_id}: {name}", hub_id=hub_id, name=name), done, total)
            with disk_errors(folder / name):
                hf_hub_download(
                    hub_id, name, revision=info.sha, local_dir=folder, endpoint=endpoint, tqdm_class=meter
                )
            done += sizes[name]
            if progress is not None:
                progress(Text("Fetched {name}", name=name), done / total)
    return folder


def wanted_files(names: Iterable[str]) -> list[str]:
    """Choose what a base needs of a repository's files: configs, tokenizer, and one set of safetensors per part."""
    names = [name for name in names if ".." not in name]
    chosen = ["model_index.json"] if "model_index.json" in names else []
    for part in PARTS:
        inside = [name for name in names if name.startswith(f"{part}/") and name.count("/") == 1]
        chosen += [name for name in inside if name.endswith((".json", ".txt")) and "index." not in name]
        # With the index where a part lies in several files: it says which tensors are in which.
        weights = [
            name for name in inside
            if ".safetensors" in name and "non_ema" not in name and "flax" not in name
        ]  # fmt: skip
        half = [name for name in weights if ".fp16" in name]
        chosen += half or [name for name in weights if ".fp16" not in name]
    return chosen


def clip_tokenizer_folder(home: Home, *, endpoint: str | None = None) -> Path:
    """Return a folder with CLIP's vocabulary, fetching it (1.5 MB) once; a single-file checkpoint lacks it.

    Raises OfflineError with a plain answer where it has to be fetched and can't.
    """
    own = home.bases / "clip-tokenizer"
    for folder in (own, *sorted(home.bases.glob("*/tokenizer"))):
        # Every other base of SD1 or SD2 that is here brings the same vocabulary.
        vocabulary = folder / "vocab.json"
        complete = vocabulary.is_file() and (folder / "merges.txt").is_file()
        if complete and (folder == own or _is_clip(vocabulary)):
            return folder
    from huggingface_hub import hf_hub_download

    try:
        with _telling(CLIP_ID):
            for name in CLIP_FILES:
                hf_hub_download(CLIP_ID, name, local_dir=own, endpoint=endpoint)
    except OfflineError as error:
        raise OfflineError(
            "A single-file checkpoint needs the vocabulary of CLIP, which is fetched once (1.5 MB) and is not here yet.",
            "Connect to the network once, or copy vocab.json and merges.txt of {clip_id} to {own}.",
            clip_id=CLIP_ID,
            own=own,
        ) from error
    return own


def _is_clip(vocabulary: Path) -> bool:
    try:
        return len(read_json(vocabulary)) == CLIP_WORDS
    except (OSError, ValueError, TypeError):
        return False


@contextmanager
def _telling(hub_id: str) -> Iterator[None]:
    """Turn the hub library's errors into ours."""
    import httpx2  # what huggingface_hub speaks through
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError as error:
        raise BaseError(
            "{hub_id} asks you to accept its licence first.",
            "Do so at https://huggingface.co/{hub_id}, run `hf auth login`, and try again.",
            hub_id=hub_id,
        ) from error
    except (errors.RepositoryNotFoundError, errors.HFValidationError) as error:
        raise BaseError(
            "There is no base {hub_id} on the Hub.", "Check its spelling: owner/name.", hub_id=hub_id
        ) from error
    except (
        errors.OfflineModeIsEnabled,
        errors.LocalEntryNotFoundError,
        httpx2.TransportError,
        ConnectionError,
    ) as error:
        raise OfflineError(
            "{hub_id} has to be fetched from the Hub, which can't be reached.",
            "Connect to the network and try again; what was fetched so far is kept. The starter works offline.",
            hub_id=hub_id,
        ) from error
    except errors.HfHubHTTPError as error:
        raise OfflineError(
            "The Hub did not give {hub_id} ({reason}).", "Try again later.", hub_id=hub_id, reason=str(error)
        ) from error


def _meter(progress: Progress | None, text: str, done: int, total: int) -> Any:
    """Return a tqdm class that shows nothing and tells `progress` the share of all bytes."""
    from tqdm.std import tqdm  # type: ignore[import-untyped]

    class Meter(tqdm):
        def __init__(self, *arguments: Any, **settings: Any) -> None:
            settings.pop("name", None)
            super().__init__(*arguments, **settings)

        def display(self, *_: Any, **__: Any) -> None:
            return None

        def update(self, n: float | None = 1) -> bool | None:
            result = super().update(n)
            if progress is not None:
                progress(text, min(1.0, (done + self.n) / total))
            return result

    return Meter
