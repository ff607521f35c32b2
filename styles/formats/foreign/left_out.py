"""What a style may hold beside the layers that are opened: norms, biases and a few stray tensors, each kind named.

LyCORIS trains norms (`train_norm`), ComfyUI and OneTrainer write the differences of biases; none of these are ranks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from styles.errors import StyleFileError
from styles.formats.foreign.files import AS_LORA, for_other_model, refusal
from styles.formats.foreign.models import Shapes, claimed_model
from styles.storage.names import clean_text
from styles.text import Text, few

NORM = re.compile(r"(.+)\.(?:w_norm|b_norm)|(.+norm\w*)\.(?:diff|diff_b|set_weight|weight|bias)")
BIAS = re.compile(r"(.+)\.(?:diff_b|bias)|(.+)\.(?:diff)")
# What OneTrainer adds to the states that a text encoder made of a word.
OUTPUT = re.compile(r"(?:bundle_emb\..+\.)?(?:clip_[lg]|emp_params|string_to_param\.\*)_out", re.DOTALL)
# Of modules that no base here has: at most so many, and at most one for so many layers.
MOST_STRAYS, LAYERS_FOR_A_STRAY = 12, 10
NAMED = 3  # of them


def left_out(others: Shapes, names: Iterable[str], shapes: Shapes, metadata: Mapping[str, str]) -> list[Text]:
    """Return what is left out of a file, in sentences.

    `others` are its tensors that belong to no layer, `names` the layers as the file calls them, `shapes` all of its
    tensors. Raises StyleFileError, saying what the file is, where they are more than can be left out.
    """
    names = set(names)
    norms, biases, strays, outputs = set(), set(), set(), False
    rest: dict[str, tuple[int, ...]] = {}
    for key, shape in others.items():
        if OUTPUT.fullmatch(key):
            outputs = True
        elif len(shape) < 2 and (match := NORM.fullmatch(key)):
            norms.add(match[1] or match[2])
        elif len(shape) < 2 and (match := BIAS.fullmatch(key)) and (names or match[2] is None):
            biases.add(match[1] or match[2])
        else:
            rest[key] = shape
    if rest:
        if error := refusal(shapes, metadata, rest):
            raise error
        for key in rest:
            if not names.isdisjoint(_beginnings(key)):
                raise StyleFileError(
                    "It holds {key}, which changes a layer in a way that is not known.",
                    AS_LORA,
                    key=_shown(key),
                )
            strays.add(_module(key))
        if len(strays) > max(2, min(MOST_STRAYS, len(names) // LAYERS_FOR_A_STRAY)):
            raise unknown(min(rest), len(strays))
    if not names and not outputs:
        if norms or biases:
            raise StyleFileError(
                "It changes only norms and biases ({count}), which are no ranks.",
                "Ask for a style with ranks.",
                count=len(norms) + len(biases),
            )
        raise unknown(min(rest), len(strays))
    return _said(norms, biases, strays, outputs)


def refuse_claimed(metadata: Mapping[str, str]) -> None:
    """Raise StyleFileError where metadata names a model that Atelier doesn't have."""
    if model := claimed_model(metadata):
        raise for_other_model(model)


def unknown(key: str, modules: int = 1) -> StyleFileError:
    """Return the refusal of a file with tensors that belong to no layer of a style."""
    return StyleFileError(
        "It holds something that belongs to no style layer: {key}."
        if modules < 2
        else "It holds {modules} things that belong to no style layer, such as {key}.",
        "It may be for another kind of model, or in a way of writing that can't be read.",
        key=_shown(key),
        modules=modules,
    )


def _said(norms: set[str], biases: set[str], strays: set[str], outputs: bool) -> list[Text]:
    said = []
    if norms:
        said.append(
            Text(
                "It also changes a norm, which is left out.",
                "It also changes {count} norms, which are left out.",
                count=len(norms),
            )
        )
    if biases:
        said.append(
            Text(
                "It also changes a bias, which is left out.",
                "It also changes {count} biases, which are left out.",
                count=len(biases),
            )
        )
    if strays:
        names = few([_shown(one) for one in sorted(strays)], NAMED)
        said.append(Text("It also holds {names}, which no base here has; that is left out.", names=names))
    if outputs:
        said.append(
            Text(
                "Its words also change what the text encoder makes of them; only the words themselves are used."
            )
        )
    return said


def _beginnings(key: str) -> Iterable[str]:
    return (key[: match.start()] for match in re.finditer(r"\.", key))


def _module(key: str) -> str:
    """Return what several tensors of one module have in common in their names."""
    return re.split(r"\.(?=lora|hada_|lokr_|alpha$|diff|[wb]_norm$|weight$|bias$)", key)[0]


def _shown(key: str) -> str:
    return clean_text(key, 120)
