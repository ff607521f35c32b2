"""A blend baked into one new style, that needs no Atelier to be used.

Exactly: the parents' ranks add, as they do in the live blend. Squeezed: the nearest change of a given rank. Or merged
by TIES (arXiv 2306.01708) or DARE (arXiv 2311.03099), which form each layer's full change, one layer at a time.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from styles.errors import BlendError, Cancelled, WrongFamilyError, memory_errors
from styles.families import family_of
from styles.formats.bake_record import BakeRecord, Parent
from styles.formats.kohya import kohya_name
from styles.formats.layer_tables import LayerSize, encoder_by_size
from styles.formats.low_rank import Factors, factored, halved, squeezed, stacked
from styles.formats.provenance import licence_warnings
from styles.formats.style import Style, StyleCard, StyleLayer
from styles.mixing.blend import MAX_SEED, Blend, BlendPart
from styles.mixing.layer_matching import InnerBlocks, OpenBase, check_family, check_one_family, inner_blocks
from styles.quantization.column_groups import style_repeats
from styles.quantization.quantization import QUANTIZATIONS
from styles.storage.names import safe_name
from styles.text import Text

METHODS = ("exact", "squeezed", "ties", "dare")
CANCELLED = 1e-3  # more than fp16 rounds in a sum of styles that don't cancel out


@dataclass(frozen=True)
class BakePlan:
    """How to bake, and what the card shall say; raises BlendError, BadInput for a name that is none.

    `rank` is the most that a layer may have; `exact` takes none, TIES and DARE without one keep as many ranks as the
    parents have together.
    """

    name: str
    method: str = "exact"  # one of METHODS
    rank: int | None = None
    density: float = 0.5  # TIES, DARE: share of each style's values that is kept, 0..1
    seed: int = 0  # DARE's chance
    author: str = ""
    licence: str = ""  # empty: the parents' own are listed
    description: str = ""

    def __post_init__(self) -> None:
        safe_name(self.name)
        if self.method not in METHODS:
            raise BlendError(
                "“{method}” is no way to bake.",
                "Choose one of: {methods}.",
                method=self.method,
                methods=", ".join(METHODS),
            )
        if self.method == "exact" and self.rank is not None:
            raise BlendError(
                "An exact bake keeps all ranks, and can't have rank {rank}.",
                "Choose “squeezed”.",
                rank=self.rank,
            )
        if self.method == "squeezed" and self.rank is None:
            raise BlendError("It is not said to which rank to squeeze.", "8 or 16 is usual.")
        if self.rank is not None and self.rank < 1:
            raise BlendError(
                "A style of rank {rank} would do nothing.", "Give 1 or more; 8 is usual.", rank=self.rank
            )
        if not 0 < self.density < 1:
            raise BlendError(
                "A share of {density:g} can't be kept.",
                "Give more than 0 and less than 1; 0.5 is usual.",
                density=self.density,
            )
        if not 0 <= self.seed <= MAX_SEED:
            raise BlendError(
                "{seed} is no seed.", "Seeds go from 0 to {max_seed}.", seed=self.seed, max_seed=MAX_SEED
            )


@dataclass(frozen=True, eq=False)
class _Source:
    """One parent's share in one layer."""

    layer: StyleLayer
    weight: float  # with the blend's knobs

    def factors(self) -> Factors:
        down = self.layer.down.to("cpu", torch.float64).flatten(1)
        up = self.layer.up.to("cpu", torch.float64).flatten(1)
        return Factors(down, up * (self.weight * self.layer.scale))


@dataclass
class _Sizes:
    """Squared sizes, summed over the layers."""

    wanted: float = 0.0
    lost: float = 0.0
    errors: list[tuple[str, float]] = field(default_factory=list)


def bake(
    blend: Blend,
    styles: Sequence[Style],
    plan: BakePlan,
    *,
    base: OpenBase | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    progress: Callable[[float], None] = lambda share: None,
) -> Style:
    """Bake a blend of `styles` into a style that is not written yet, with fp16 factors as its file will have them.

    Its card tells the parents with their weights and licences and how near it came, per layer and in all; its problems
    tell what their licences forbid. The base is asked only where a part has a composition or texture other than 1, as
    it alone knows which blocks are the inner ones. Raises BlendError for a blend that no single style can stand for,
    WrongFamilyError for styles of different bases or layers of different shapes, Cancelled in front of the next
    operation on a layer. `progress` is told the share that is done, 0..1, before each layer.
    """
    parents = _parents(blend, styles)
    family = check_one_family([style for _, style in parents], Text("Bake styles of one family only."))
    parents = [(part, _with_told_encoder(style, family)) for part, style in parents]
    if base is not None:
        check_family(base, [style for _, style in parents])
    elif any(part.composition != part.texture or part.composition != 1 for part, _ in parents):
        raise BlendError("Composition and texture can't be baked without a base.", "Open the styles' base.")
    sources = _by_layer(parents, inner_blocks(base) if base else InnerBlocks(()))
    widest = max(map(_widest_rank, sources.values()), default=0)
    if plan.rank is not None and plan.rank > widest > 0:
        raise BlendError(
            "Rank {rank} is more than the widest layer has numbers ({widest}).",
            "Give a smaller one; 8 or 16 is usual.",
            rank=plan.rank,
            widest=widest,
        )
    # One alpha for all, as diffusers gives a layer with another one the wrong strength.
    alpha = float(min(max(map(_ranks, sources.values()), default=1), plan.rank or widest or 1))
    layers: list[StyleLayer] = []
    sizes = _Sizes()
    done = 0

    def look() -> None:
        if cancelled():
            raise Cancelled(
                "Stopped after {done} of {count} layers; nothing was kept.", done=done, count=len(sources)
            )

    for done, name in enumerate(sorted(sources)):
        look()
        progress(done / len(sources))
        full = Text("There is too little memory to bake {layer}.", layer=sources[name][0].layer.name)
        with memory_errors(full, "Close other programs, or bake exactly instead of by TIES or DARE."):
            layer = _bake_layer(name, sources[name], plan, sizes, alpha, look)
        if layer is not None:
            layers.append(layer)
    look()
    if not layers:
        raise BlendError(
            "This blend changes nothing: its styles cancel out, or are empty.", "Raise a weight."
        )
    merged = plan.method in ("ties", "dare")
    record = BakeRecord(
        method=plan.method,
        error=(sizes.lost / sizes.wanted) ** 0.5,
        layer_errors=tuple(sizes.errors),
        parents=tuple(_parent(part, style) for part, style in parents),
        density=plan.density if merged else None,
        seed=plan.seed if plan.method == "dare" else None,
    )
    return Style(_card(plan, record, [style.card for _, style in parents], family, layers), tuple(layers))


def _parents(blend: Blend, styles: Sequence[Style]) -> list[tuple[BlendPart, Style]]:
    """Pair the parts that are heard with their styles; raises BlendError for what no single style can do."""
    by_id = {style.id: style for style in styles if style.id}
    parts = blend.sounding
    if not parts:
        raise BlendError("There is nothing to bake: no style of the blend has a weight.", "Raise a weight.")
    missing = [part.style for part in parts if part.style not in by_id]
    if missing:
        raise BlendError(
            "{count} of {parts} styles are not here: {names}.",
            "Import them first.",
            count=len(missing),
            parts=len(parts),
            names=", ".join(name[:12] for name in missing[:3]),
        )
    if blend.mode != "sum" and len(parts) > 1:
        reasons = {
            "take turns": Text(
                "Taking turns changes the styles from step to step, which no single style can do."
            ),
            "average guidance": Text(
                "Average guidance paints each style on its own, which no single style can do."
            ),
        }
        raise BlendError(reasons[blend.mode], "Bake it as a sum.")
    for part in parts:
        factors = {factor for _, factor in part.schedule or ()}
        if len(factors) > 1:
            raise BlendError(
                "“{style}” changes its weight over the steps, which no single style can do.",
                "Take its schedule off, or bake without it.",
                style=by_id[part.style].name,
            )
    heard = [(part, by_id[part.style]) for part in parts if part.weight_at(0.0) != 0]
    if not heard:
        raise BlendError("There is nothing to bake: all weights are 0.", "Raise a weight.")
    return heard


def _with_told_encoder(style: Style, family: str) -> Style:
    """A style that doesn't say its family may call each of two text encoders the only one."""
    its = family_of(family)
    if len(its.text_encoders) < 2 or all(layer.network != "te" for layer in style.layers):
        return style

    def told(layer: StyleLayer) -> StyleLayer:
        if layer.network != "te":
            return layer
        size = LayerSize(layer.down.shape[1], layer.up.shape[0])
        return replace(layer, network=encoder_by_size(its, layer.path, size))

    return replace(style, layers=tuple(map(told, style.layers)))


def _by_layer(parents: Sequence[tuple[BlendPart, Style]], inner: InnerBlocks) -> dict[str, list[_Source]]:
    """Gather each layer's sources, under the name that a file gives it; raises WrongFamilyError for misfits."""
    by_layer: dict[str, list[_Source]] = {}
    for part, style in parents:
        for layer in style.layers:
            # A text encoder's layers may be named with and without their first level.
            source = _Source(layer, part.weight_at(0.0) * _knob(part, layer, inner))
            if source.weight != 0:
                by_layer.setdefault(kohya_name(layer.network, layer.path), []).append(source)
    for sources in by_layer.values():
        if len({_form(source.layer) for source in sources}) > 1:
            raise WrongFamilyError(
                "{layer} has not the same shape in all styles of this blend.",
                "They are for different bases, and can't become one style.",
                layer=sources[0].layer.name,
            )
    return by_layer


def _knob(part: BlendPart, layer: StyleLayer, inner: InnerBlocks) -> float:
    """What composition and texture make of a layer, as in the live blend: the text encoders have no such knob."""
    if layer.network != "unet":
        return 1.0
    return part.composition if inner.hold(layer.path) else part.texture


def _form(layer: StyleLayer) -> tuple[int, ...]:
    """(out, in, kh, kw) of the change; Linear layers and 1x1 convolutions stand for each other."""
    kernel = tuple(layer.down.shape[2:]) or (1, 1)
    return (int(layer.up.shape[0]), int(layer.down.shape[1]), *kernel)


def _widest_rank(sources: Sequence[_Source]) -> int:
    out, *inner = _form(sources[0].layer)
    return min(out, math.prod(inner))


def _ranks(sources: Sequence[_Source]) -> int:
    return min(sum(source.layer.rank for source in sources), _widest_rank(sources))


def _bake_layer(
    name: str,
    sources: Sequence[_Source],
    plan: BakePlan,
    sizes: _Sizes,
    alpha: float,
    look: Callable[[], None],
) -> StyleLayer | None:
    """Bake one layer and add to the sizes what was wanted of it and lost; None where nothing is to be changed.

    `look` is called in front of each operation that takes long.
    """
    whole = stacked([source.factors() for source in sources])
    limit = min(plan.rank or whole.rank, whole.widest_rank)
    if plan.method in ("ties", "dare"):
        full = _merged(name, sources, plan, look)
        square = float(full.square().sum())
        look()
        half = halved(factored(full, limit), alpha)
        lost = float((full - half.up @ half.down * half.scale).square().sum())
    else:
        square = whole.square()
        half = halved(whole if whole.rank <= limit else squeezed(whole, limit, look), alpha)
        lost = whole.minus(half.factors()).square()
        if whole.rank <= limit and lost > CANCELLED**2 * square:
            # The styles cancel out for the greater part; what is left is rounded less on its own.
            half = halved(squeezed(whole, limit, look), alpha)
            lost = whole.minus(half.factors()).square()
    if square == 0:
        return None
    sizes.wanted += square
    sizes.lost += lost
    # A convolution's form where a source has it: a Linear layer's weights say nothing of a kernel.
    like = max((source.layer for source in sources), key=lambda layer: layer.down.dim())
    kernel = like.down.shape[2:]
    sizes.errors.append((like.name, (lost / square) ** 0.5))
    return StyleLayer(
        like.network,
        like.path,
        half.down.to(torch.float16).reshape(half.rank, -1, *kernel),
        half.up.to(torch.float16).reshape(-1, half.rank, *(1 for _ in kernel)),
        half.alpha,
    )


def _merged(name: str, sources: Sequence[_Source], plan: BakePlan, look: Callable[[], None]) -> Tensor:
    """Return a layer's full (out, in) change after TIES or DARE, in fp64.

    As PEFT's `add_weighted_adapter` does it, except that a style with a negative weight votes for the sign that it
    pulls to.
    """
    from peft.utils.merge_utils import dare_linear, ties

    changes, weights = [], []
    for source in sources:
        look()
        factors = source.factors()
        changes.append(factors.up @ factors.down / abs(source.weight))
        weights.append(abs(source.weight))
    look()
    given = torch.tensor(weights, dtype=torch.float64)
    if plan.method == "ties":
        return ties(changes, given, plan.density)
    # Each layer has its own chance, that does not depend on the other layers; PEFT draws from torch's own generator.
    digest = hashlib.sha256(f"{plan.seed} {name}".encode()).digest()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int.from_bytes(digest[:7], "big"))
        return dare_linear(changes, given, plan.density)


def _parent(part: BlendPart, style: Style) -> Parent:
    card = style.card
    return Parent(
        card.name, style.id, part.weight_at(0.0), card.author, card.licence, part.composition, part.texture
    )


def _card(
    plan: BakePlan, record: BakeRecord, cards: Sequence[StyleCard], family: str, layers: Sequence[StyleLayer]
) -> StyleCard:
    """The baked style's card; what all parents say alike is kept."""
    triggers = dict.fromkeys(card.trigger for card in cards if card.trigger)
    shared = {
        key: value
        for key, value in cards[0].training.items()
        if key in ("prediction_type", "resolution_px", "base_layers", "quantize")
        and all(card.training.get(key) == value for card in cards)
    }
    quantization = QUANTIZATIONS.get(str(shared.get("quantize")))
    if quantization and quantization.is_grouped and not _repeats(layers, quantization.group):
        del shared["quantize"]  # such as by DARE, that leaves out values by chance
    words = dict.fromkeys(token for card in cards for token in card.tokens)
    lost = (
        (Text("The words {words} that its styles bring along don't work with it.", words=", ".join(words)),)
        if words
        else ()
    )
    return StyleCard(
        name=safe_name(plan.name),
        family=family,
        rank=max(layer.rank for layer in layers),
        trigger=", ".join(triggers),
        author=plan.author,
        licence=plan.licence or record.licences,
        description=f"{plan.description}\n{record.words}".strip(),
        training=shared,
        base_name=_alike([card.base_name for card in cards]),
        base_fingerprint=_alike([card.base_fingerprint for card in cards]),
        problems=licence_warnings(cards) + lost,
        bake=record,
    )


def _repeats(layers: Sequence[StyleLayer], group: int) -> bool:
    return style_repeats(Style(StyleCard("", "", 1), tuple(layers)), group)


def _alike(texts: Sequence[str]) -> str:
    return texts[0] if len(set(texts)) == 1 else ""
