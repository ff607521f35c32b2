"""All that the Create room asks of an artist, as plain values: to an order, and back from a picture's recipe."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from app.create.base_session import prompt_with_triggers
from app.create.following import FollowedMix, followed
from app.create.mix_form import MOST_ROWS, MixForm, MixRow
from app.create.mix_orders import SheetOrder
from app.create.prompt_tags import mix_with, styles_named_in
from app.create.style_choices import paintable
from app.i18n import say, translated
from app.orders import PictureOrder
from styles.errors import BadInput, StyleFileError, UnknownStyleError
from styles.families import family_of
from styles.formats.triggers import is_left_out
from styles.generation.img2img import source_path
from styles.generation.recipe import Recipe
from styles.generation.samplers import missing_notes
from styles.generation.settings import PassSettings, PictureSettings
from styles.library.missing import missing_style, name_to_show
from styles.mixing.blend import BlendPart
from styles.quantization.quantization import PLAIN, quantization_words
from styles.storage.setting import Declared, settings_of
from styles.text import Text

if TYPE_CHECKING:
    from app.studio import Studio

USUAL_SIDE_PX = 512  # of a base that does not tell
SHAPES = ("square", "portrait", "landscape", "own")
# By name, those of a picture that have a field of their own.
PICTURE = {
    name: one for name, one in settings_of(PictureSettings).items() if one.setting.group or name == "base"
}
PASSES = settings_of(PassSettings)
# Those that a base or a style may be made for.
SUITING = ("sampler", "schedule", "steps", "guidance")
FIRST_PROMPT = "a red house in a meadow"
FIRST_STYLES = 2  # that a fresh page begins with


@dataclass(frozen=True)
class Paper:
    """Size, number and seed; texts as they were typed."""

    shape: str = SHAPES[0]
    width: str = ""
    height: str = ""
    count: int = 1
    seed: str = ""
    locked: bool = False

    @classmethod
    def from_json(cls, values: Any) -> Paper:
        """Read what a page sends or a browser kept; what can't be used is as on a fresh page."""
        given = values if isinstance(values, Mapping) else {}
        count = given.get("count", 1)
        return cls(
            shape=given["shape"] if given.get("shape") in SHAPES else SHAPES[0],
            width=str(given.get("width") or ""),
            height=str(given.get("height") or ""),
            count=count if isinstance(count, int) and not isinstance(count, bool) else 1,
            seed=str(given.get("seed") or "") if given.get("seed") != 0 else "0",
            locked=given.get("locked") is True,
        )

    def to_json(self) -> dict[str, Any]:
        """What `from_json` reads."""
        return {
            "shape": self.shape, "width": self.width, "height": self.height, "count": self.count,
            "seed": self.seed, "locked": self.locked,
        }  # fmt: skip

    def size_px(self, native_px: int, step_px: int = 1) -> tuple[int | None, int | None]:
        """Width and height on a base of that native side, None where the base decides; raises BadInput.

        One that was trained in steps of some pixels knows all shapes at about one area (arXiv 2307.01952, appendix I).
        """
        if self.shape == "own":
            return whole(say("Width"), self.width), whole(say("Height"), self.height)
        if self.shape == "square":
            return None, None
        long = native_px or USUAL_SIDE_PX
        short = long * 3 // 4
        if 1 < step_px <= long // 4:
            short = round(long * (3 / 4) ** 0.5 / step_px) * step_px
            long = long**2 // short // step_px * step_px
        return (short, long) if self.shape == "portrait" else (long, short)


@dataclass(frozen=True)
class CreateForm:
    """The whole form: `settings` but for size, number and seed, which the paper says."""

    prompt: str = ""
    mix: MixForm = field(default_factory=MixForm)
    paper: Paper = field(default_factory=Paper)
    # The path of a picture to start from.
    image: str = ""
    settings: PictureSettings = field(default_factory=PictureSettings)
    passes: PassSettings = field(default_factory=PassSettings)

    @classmethod
    def from_json(cls, values: Any, *, as_far_as_possible: bool = True) -> CreateForm:
        """Read what a page sends or a browser kept; what can't be used is as on a fresh page, else raises BadInput."""
        given = values if isinstance(values, Mapping) else {}
        settings, passes = PictureSettings(), PassSettings()
        for name, one in (PICTURE | PASSES).items():
            with suppress(BadInput) if as_far_as_possible else nullcontext():
                if name in given and name in PASSES:
                    passes = replace(passes, **{name: entered(one, given[name])})
                elif name in given:
                    settings = replace(settings, **{name: entered(one, given[name])})
        prompt, image = given.get("prompt"), given.get("image")
        return cls(
            prompt if isinstance(prompt, str) else "",
            MixForm.from_json(given.get("mix")),
            Paper.from_json(given.get("paper")),
            image if isinstance(image, str) else "",
            settings,
            passes,
        )

    def to_json(self) -> dict[str, Any]:
        """What `from_json` reads."""
        return {
            "prompt": self.prompt, "mix": self.mix.to_json(), "paper": self.paper.to_json(), "image": self.image,
            **entries(self.settings),
            **{name: entry(one, getattr(self.passes, name)) for name, one in PASSES.items()},
        }  # fmt: skip

    def order(self, studio: Studio) -> PictureOrder:
        """What to paint with the styles that are here; raises BadInput for a number that is none."""
        form, notes = self.without_tags(studio)
        return form._order(studio, followed(studio.library, form.mix), notes=notes)

    def without_tags(self, studio: Studio) -> tuple[CreateForm, tuple[Text, ...]]:
        """The form with the styles that its prompt names in its mix, and what there is to say of them."""
        named = styles_named_in(self.prompt, studio.library)
        if named.prompt == self.prompt:
            return self, ()
        mix, notes = mix_with(self.mix, named, studio.library)
        return replace(self, prompt=named.prompt, mix=mix), tuple(notes)

    def _order(
        self,
        studio: Studio,
        here: FollowedMix,
        sheet: SheetOrder | None = None,
        notes: tuple[Text, ...] = (),
    ) -> PictureOrder:
        width, height = self.paper.size_px(*native_side(studio, self.settings.base))
        settings = replace(
            self.settings,
            seed=whole(say("Seed"), self.paper.seed),
            count=1 if sheet else self.paper.count,
            width_px=width,
            height_px=height,
        )
        return PictureOrder(
            self.whole_prompt(here, sheet),
            settings,
            self.passes.acting(bool(self.image)),
            Path(self.image) if self.image else None,
            mix=replace(here.order, notes=(*here.notes, *notes)),
            sheet=sheet,
            add_triggers=False,
        )

    def sheet(self, studio: Studio, kind: str, style: str = "") -> PictureOrder:
        """A sheet of the mix: a strength strip of one style, a map of all that are not muted, each left out in turn."""
        form, notes = self.without_tags(studio)
        here = followed(studio.library, form.mix)
        if kind == "strength strip" and style not in here.now:
            raise missing_style(studio.library, style, form.mix.name_of(style)).error
        styles = {
            "strength strip": (here.now[style].id if style in here.now else "",),
            "blend map": tuple(row.style for row in here.mix.rows if not row.part.muted),
        }.get(kind, ())
        return form._order(studio, here, SheetOrder(kind, styles), notes)

    def whole_prompt(self, here: FollowedMix, sheet: SheetOrder | None = None) -> str:
        """The prompt behind the trigger words that the chips of its mix show."""
        shown = set(sheet.styles if sheet else ())
        cards = {card.id: card for card in here.now.values()}
        acting = []
        for row in here.mix.rows:
            heard = 1.0 if row.style in shown else here.mix.highest(row.style)
            acting.append((cards[row.style], heard if row.word else 0.0))
        return prompt_with_triggers(self.prompt.strip(), acting)


def first_form(studio: Studio) -> CreateForm:
    """What a fresh page begins with: the newest styles, each as strong as its card suggests, halved beside another."""
    rows: dict[str, MixRow] = {}
    for listed in paintable(studio)[:FIRST_STYLES]:
        with suppress(UnknownStyleError, StyleFileError):  # taken away since it was listed
            card = studio.library.find(studio.library.handle(listed))
            part = BlendPart(card.id, card.suggested_weight * (0.5 if rows else 1.0))
            rows[card.id] = MixRow(part, name=card.name)
    # English, since that is what the starter reads.
    return CreateForm(prompt=FIRST_PROMPT, mix=MixForm(tuple(rows.values())))


def kept_form(studio: Studio, values: Any, uploads: Path) -> CreateForm:
    """The form that a browser kept; its picture only where that lies among the home's or in the folder of uploads."""
    if isinstance(values, Mapping) and isinstance(values.get("image"), Mapping):
        values = {**values, "image": values["image"].get("path")}
    form = CreateForm.from_json(values)
    image = Path(form.image)
    ours = any(image.resolve().is_relative_to(place.resolve()) for place in (uploads, studio.home.pictures))
    return form if not form.image or (ours and image.is_file()) else replace(form, image="")


@dataclass(frozen=True)
class Recalled:
    """A form made from a picture's recipe, and what there is to say about it."""

    form: CreateForm
    missing: tuple[str, ...]  # names of styles that are not in the library
    notes: tuple[str, ...]
    only_prompt: bool = False  # no more than that was found


def recalled(studio: Studio, recipe: Recipe, before: CreateForm | None = None) -> Recalled:
    """The form that makes a recipe's picture, as far as its styles and its source are here.

    What the recipe says nothing of stays as it is in the form of `before`.
    """
    before = before or CreateForm()
    recipe = recipe.with_signs()
    whole_form = MixForm.of_blend(recipe.blend, recipe.names)
    here = followed(studio.library, whole_form)
    rows: dict[str, MixRow] = {}
    for row in whole_form.rows:
        card = here.now.get(row.style)
        if card is None:  # it stays, to be had back
            rows[row.style] = row
            continue
        word = not is_left_out(recipe.prompt, card.trigger, whole_form.highest(row.style))
        rows.setdefault(card.id, MixRow(replace(row.part, style=card.id), word, card.name))
    missing = [name_to_show(row.name, row.style) for row in here.missing]
    notes: list[str] = [
        *recipe.notes,
        *missing_notes(recipe.sampler, recipe.schedule),
        *here.name_notes,
    ]
    if len(recipe.blend.parts) > MOST_ROWS:
        notes.append(
            say(
                "It has {count} styles, of which there is room here for {room}.",
                count=len(recipe.blend.parts),
                room=MOST_ROWS,
            )
        )
    image = ""
    if recipe.source:
        source_file = source_path(recipe.source, studio.home)
        image = str(source_file) if source_file.is_file() else ""
        if not image:
            notes.append(say("The picture that it was painted from is not here: it starts from nothing now."))
    source = studio.source_for(recipe)
    base = "" if source == studio.base_source("") else source
    if recipe.base not in ("", source, Path(source).name):
        notes.append(say("It was made on {base}, which is not here.", base=recipe.base))
    elif recipe.base_fingerprint and recipe.quantize != (now := kept_as(studio, base)):
        notes.append(
            say(
                "It was made with the base {made_with}, which is kept {now}.",
                made_with=translated(quantization_words(recipe.quantize)),
                now=translated(quantization_words(now)),
            )
        )
    passes = PassSettings.of(recipe)
    form = CreateForm(
        recipe.prompt,
        MixForm(tuple(rows.values()), whole_form.mode),
        _paper_of(recipe, *native_side(studio, base), before.paper),
        image,
        _settings_of(recipe, base, before.settings),
        passes if image else passes.acting(False),
    )
    if "blend" in recipe.unsaid:
        form = replace(form, mix=before.mix)
    if only_prompt := {"seed", "width_px", "steps"} <= set(recipe.unsaid):
        form = replace(before, prompt=form.prompt, mix=form.mix, settings=form.settings)
    return Recalled(_behind_chips(studio, form), tuple(missing), tuple(notes), only_prompt)


def _settings_of(recipe: Recipe, base: str, before: PictureSettings) -> PictureSettings:
    """A recipe's settings, with those that it says nothing of as they were before."""
    said = PictureSettings.of(recipe, base)
    names = set(recipe.unsaid) & {"steps", "guidance", "sampler", "negative"}
    if "sampler" in names:
        names.add("schedule")
    if "seed" in recipe.unsaid and "width_px" in recipe.unsaid:
        names |= {"base", "quantize", "clip_skip"}
    return replace(said, **{name: getattr(before, name) for name in names})


def _behind_chips(studio: Studio, form: CreateForm) -> CreateForm:
    """The same form without the trigger words at the head of its prompt, where its chips put them there again."""
    words = form.prompt.split(", ")
    cards = followed(studio.library, form.mix).now
    places = {row.style: cards[row.style].trigger for row in form.mix.rows if row.word and row.style in cards}
    order = {style: words.index(word) for style, word in places.items() if word in words}
    rows = tuple(sorted(form.mix.rows, key=lambda row: order.get(row.style, len(words))))
    head = "".join(f"{places[row.style]}, " for row in rows if row.style in order)
    short = replace(form, prompt=form.prompt.removeprefix(head), mix=replace(form.mix, rows=rows))
    whole = short.whole_prompt(followed(studio.library, short.mix))
    return short if whole == form.prompt else form


def recalled_words(done: Recalled) -> str:
    """What the room says once the form is filled."""
    words = [
        say("The prompt of the picture is set.")
        if done.only_prompt
        else say("The settings of the picture are set.")
    ]
    if done.missing:
        names = ", ".join(f"“{name}”" for name in done.missing)
        words.append(say("These styles of it are not in your library: {names}.", names=names))
        words.append(say("Import them, or paint without."))
    return " ".join([*words, *map(translated, done.notes)])


def _paper_of(recipe: Recipe, native_px: int, step_px: int, before: Paper) -> Paper:
    """Size and seed of a recipe, as before where it has none; its seed stays until the artist rolls another."""
    size = (recipe.width_px, recipe.height_px)
    paper = Paper(width=str(size[0]), height=str(size[1]), seed=str(recipe.seed), locked=True)
    if "seed" in recipe.unsaid:
        paper = replace(paper, seed=before.seed, locked=before.locked)
    if "width_px" in recipe.unsaid:
        return replace(before, seed=paper.seed, locked=paper.locked, count=1)
    for shape in ("portrait", "landscape"):
        if replace(paper, shape=shape).size_px(native_px, step_px) == size:
            return replace(paper, shape=shape, width="", height="")
    if size == (native_px, native_px):
        return replace(paper, width="", height="")
    return replace(paper, shape="own")


def native_side(studio: Studio, base: str) -> tuple[int, int]:
    """The native side of a base, and the steps of the sides that it was trained at, in pixels.

    The side is 0 where the shelf does not know it.
    """
    source = studio.base_source(base)
    for base_entry in studio.shelf.list():
        if source in (base_entry.name, base_entry.source):
            return base_entry.native_size_px, family_of(base_entry.family).bucket_step_px
    return 0, 1


def kept_as(studio: Studio, base: str) -> str:
    """How a base of the shelf is kept, see styles.quantization."""
    source = studio.base_source(base)
    return next((one.quantize for one in studio.shelf.list() if source in (one.name, one.source)), PLAIN)


def entered(one: Declared, value: Any) -> Any:
    """What a field of the form says of a setting, None where it says nothing; raises BadInput."""
    if is_typed(one):
        read = whole if int in get_args(one.kind) else real
        return read(say(one.setting.label), str(value or ""))
    return (value or None) if one.setting.offered or is_left_open(one) else value


def entry(one: Declared, value: Any) -> Any:
    """What a field of the form holds for a setting."""
    if is_typed(one):
        return "" if value is None else str(value) if isinstance(value, int) else f"{value:g}"
    if one.setting.offered:
        return value or 0.0
    if is_left_open(one):
        return value or ""
    return one.setting.usual if value is None else value


def entries(settings: PictureSettings, names: Collection[str] = frozenset(PICTURE)) -> dict[str, Any]:
    """What the fields of these names hold for settings."""
    return {name: entry(one, getattr(settings, name)) for name, one in PICTURE.items() if name in names}


def is_typed(one: Declared) -> bool:
    """It is a number in a field of text, where nothing means that the base decides."""
    setting = one.setting
    return not setting.slider and not setting.offered and not {int, float}.isdisjoint(get_args(one.kind))


def is_left_open(one: Declared) -> bool:
    """It is a choice that can be left to something else."""
    return bool(one.setting.choices and one.setting.unset)


def whole(label: str, text: str | None) -> int | None:
    """The whole number that was typed, None where nothing was; raises BadInput."""
    number = real(label, text)
    if number is None or text is None:
        return None
    try:
        return int(text.strip())  # JavaScript would round a seed above 2**53, so it stays a text until here
    except ValueError:
        raise BadInput(
            "{label}: “{text}” is no whole number.", "Write digits only.", label=label, text=text.strip()[:40]
        ) from None


def real(label: str, text: str | None) -> float | None:
    """The number that was typed, None where nothing was; raises BadInput."""
    if text is None or not text.strip():
        return None
    try:
        return float(text.strip().replace(",", "."))
    except ValueError:
        raise BadInput(
            "{label}: “{text}” is no number.",
            "Write it like 512 or 0.5.",
            label=label,
            text=text.strip()[:40],
        ) from None
