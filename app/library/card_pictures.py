"""Pictures for the cards of styles that came without one, each painted with the style itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from styles.errors import Cancelled, Failure, WrongFamilyError
from styles.families import family_of
from styles.formats.triggers import with_trigger
from styles.library.folder import locked, name_of
from styles.library.side_files import has_picture
from styles.mixing.blend import Blend, BlendPart
from styles.storage import atomic

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
