"""Pictures for the cards of styles that came without one, each painted with the style itself, and for their pages."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from styles.errors import BadInput, Cancelled, Failure, RecipeError, WrongFamilyError
from styles.families import family_of
from styles.formats.triggers import with_trigger
from styles.library.folder import locked, name_of
from styles.library.model_card import ExamplePicture
from styles.library.side_files import LARGEST_PICTURE, has_picture, thumbnail_of
from styles.mixing.blend import Blend, BlendPart
from styles.storage import atomic
from styles.storage.file_reading import open_file

if TYPE_CHECKING:
    from styles.bases.base import Base
    from styles.formats.style import Style, StyleCard
    from styles.library.library import Library

SEED, STEPS = 1, 20


def card_picture(
    base: Base, style: Style, safety_checker: bool, cancelled: Callable[[float], bool] = lambda seconds: False
) -> bytes:
    """Paint what trainings for the base's family preview, at the weight that the card suggests; a JPEG of 256x256 px.

    `cancelled` is told how many seconds the last step took. Raises WrongFamilyError, BlendError, Cancelled, Failure.
    """
    from styles.formats.thumbnail import thumbnail_jpeg
    from styles.generation.generate import PictureDone, generate
    from styles.generation.request import CreateRequest
    from training.plan import PREVIEW_PROMPTS

    card = style.card
    if card.family != base.family:
        raise WrongFamilyError(
            "“{style}” is a {family}; {base} is another base.",
            "Choose a base of its family.",
            style=style.name,
            family=card.made_for,
            base=base.name,
        )
    request = CreateRequest(
        with_trigger(PREVIEW_PROMPTS[family_of(base.family).presets][0], card.trigger),
        blends=(Blend((BlendPart(style.id, card.suggested_weight),)),),
        seeds=(SEED,),
        steps=STEPS,
        safety_checker=safety_checker,
    )
    begun, took = time.monotonic(), [0.0]
    for event in generate(base, request, [style], cancelled=lambda: cancelled(took[-1])):
        if isinstance(event, PictureDone):
            if event.hidden:
                raise Failure("The base's safety checker hid the picture.")
            return thumbnail_jpeg(event.image)
        now = time.monotonic()
        if event.step > 1:  # with the first one comes all that is prepared
            took.append(now - begun)
        begun = now
    raise Cancelled("Stopped.")


def keep_card_picture(library: Library, card: StyleCard, picture: bytes) -> bool:
    """Put a JPEG beside a style's file, which stays as it is; whether it was done.

    It is not done where the style has gone or got another picture meanwhile. Raises DiskFullError, Failure.
    """
    assert card.path is not None
    with locked(library.folder):
        if not card.path.exists() or has_picture(card.path):
            return False
        atomic.write_bytes(card.path.with_name(f"{name_of(card.path)}.jpg"), picture)
        return True


def example_picture(path: Path) -> ExamplePicture:
    """Read a picture for a style's page on the Hub, with the prompt that its recipe holds; raises BadInput."""
    from styles.generation.png_recipe import read_recipe

    try:
        with open_file(path) as file:
            data = file.read(LARGEST_PICTURE + 1)
    except OSError as error:
        raise BadInput(
            "{path} can't be read: {reason}.", "Check the path.", path=path, reason=error.strerror
        ) from error
    if len(data) > LARGEST_PICTURE or thumbnail_of(path) is None:
        raise BadInput(
            "{path} is no picture that can be shown.", "Choose a PNG, JPEG or WebP up to 64 MB.", path=path
        )
    try:
        prompt = read_recipe(path).prompt
    except RecipeError:
        prompt = ""
    return ExamplePicture(prompt, data)
