"""What to paint: checked on its own, then against the base that is open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import InstanceOf

from styles.bases.base import Base
from styles.errors import BlendError, PromptError, RecipeError
from styles.formats.style import Style
from styles.generation.img2img import SourcePicture, first_step, fitted_size
from styles.generation.prompt_changes import prompt_at
from styles.generation.prompt_syntax import check_prompt
from styles.generation.prompts import PromptReading, check_clip_skip, check_length, count_chunks
from styles.generation.recipe import Recipe
from styles.generation.samplers import DEFAULT_SAMPLER, sampler_of
from styles.generation.settings import (
    MAX_PICTURES,
    MAX_PIXELS,
    MAX_SIDE_PX,
    ClipSkip,
    Denoise,
    Guidance,
    PassSettings,
    PictureSettings,
    SamplerName,
    Scale,
    ScheduleName,
    SecondDenoise,
    Seed,
    Steps,
)
from styles.mixing.blend import Blend, BlendPart
from styles.mixing.prompt_words import Vocabulary, check_words, vocabulary
from styles.storage.setting import Setting, settings
from styles.text import Text

GuidanceRescale = Annotated[float, Setting(low=0, high=1, refused="The guidance rescale is {value}.")]


@settings(RecipeError)
class SecondPass:
    """Finishing at a larger size: the latents enlarged, noised by `strength` and denoised again under the same blend.

    `scale` is of width and height, rounded to what the base can paint. `steps` are the sampler's whole run, of which
    the share `strength` is done; 0: as many as the first pass.
    """

    scale: Scale = 2.0
    strength: SecondDenoise = 0.5
    steps: Annotated[int, Setting(low=0, high=1000, refused="The number of steps is {value}.")] = 0

    @classmethod
    def of(cls, passes: PassSettings) -> SecondPass | None:
        """The second pass that is wished, if one is."""
        if passes.second_pass is None:
            return None
        return cls(passes.second_pass, passes.second_denoise or cls.strength)


@settings(RecipeError)
class CreateRequest:
    """What to paint: one picture for each seed.

    `prompt` is one text for all pictures, or one for each. The mix is given as `blends` by style id, one for all or
    one for each picture, or shorter as `weights`, (pictures, styles) or one row for all. `source` is a picture to
    start from, `strength` how far to go from it: 0 leaves it as it is, 1 leaves next to nothing of it.
    `None` and 0 mean what suits the base. `batch` pictures go through the UNet at once; `together` makes all of them
    one batch, split only where memory demands it; with `only`, all seeds are one batch of which a single picture
    is wanted (that is how a picture is made again).
    """

    prompt: str | tuple[str, ...]
    negative: str = ""
    weights: Annotated[tuple[tuple[float, ...], ...], Setting(refused="A weight is {value}.")] = ()
    seeds: tuple[Seed, ...] = (0,)
    steps: Steps = 20
    # 1 and below: none, and half the work.
    guidance: Guidance | None = None
    # arXiv 2305.08891
    guidance_rescale: GuidanceRescale | None = None
    sampler: SamplerName = DEFAULT_SAMPLER
    schedule: ScheduleName | None = None
    clip_skip: ClipSkip = 1
    # Brackets and BREAK in the prompts are A1111's signs, see `prompt_syntax`.
    prompt_signs: bool = True
    width_px: int = 0
    height_px: int = 0
    batch: int = 0
    only: int | None = None
    safety_checker: bool = True
    blends: tuple[InstanceOf[Blend], ...] = ()
    source: InstanceOf[SourcePicture] | None = field(default=None, repr=False)
    strength: Denoise = 0.6
    second_pass: SecondPass | None = None
    together: bool = False
    agreed: bool = False  # however long it takes

    def __post_init__(self) -> None:
        count = len(self.seeds)
        if not 1 <= count <= MAX_PICTURES:
            raise RecipeError(
                "{count} pictures can't be made at once.",
                "Ask for 1 to {max_pictures}.",
                count=count,
                max_pictures=MAX_PICTURES,
            )
        if self.only is not None and self.only not in range(count):
            raise RecipeError(
                "There is no picture {only} in a batch of {count}.", only=self.only, count=count
            )
        if isinstance(self.prompt, tuple) and len(self.prompt) != count:
            raise PromptError(
                "There are {count} prompts for {pictures} pictures.",
                "Give one for each.",
                count=len(self.prompt),
                pictures=count,
            )
        for text in (*self.prompts, self.negative):
            check_prompt(text, self.prompt_signs)
        most = sampler_of(self.sampler).most_steps
        for steps in (self.steps, self.second_pass.steps if self.second_pass else 0):
            if steps > most:
                raise RecipeError(
                    "The sampler “{sampler}” takes at most {most} steps, not {steps}.",
                    "Choose fewer steps, or another sampler.",
                    sampler=self.sampler,
                    most=most,
                    steps=steps,
                )
        self._check_mix(count)

    def _check_mix(self, count: int) -> None:
        if self.weights and self.blends:
            raise BlendError("There are weights and blends.", "Give only one of them.")
        if self.weights and len(self.weights) not in (1, count):
            raise BlendError(
                "There are {count} rows of weights for {pictures} pictures.",
                count=len(self.weights),
                pictures=count,
            )
        if self.blends and len(self.blends) not in (1, count):
            raise BlendError(
                "There are {count} blends for {pictures} pictures.", count=len(self.blends), pictures=count
            )
        modes = {blend.mode for blend in self.blends}
        if len(modes) > 1:
            raise BlendError(
                "The pictures of one request can't be mixed in several ways ({modes}).",
                "Ask for them one after the other.",
                modes=", ".join(sorted(modes)),
            )

    @classmethod
    def of(
        cls, prompt: str, wished: PictureSettings, passes: PassSettings, source: SourcePicture | None = None
    ) -> CreateRequest:
        """What a person wishes, as a request."""
        return cls(
            prompt=prompt,
            negative=wished.negative,
            seeds=wished.seeds(),
            steps=wished.steps or cls.steps,
            guidance=wished.guidance,
            sampler=wished.sampler or cls.sampler,
            schedule=wished.schedule,
            clip_skip=wished.clip_skip or cls.clip_skip,
            width_px=wished.width_px or 0,
            height_px=wished.height_px or 0,
            source=source,
            strength=cls.strength if passes.denoise is None else passes.denoise,
            second_pass=SecondPass.of(passes),
        )

    @property
    def prompts(self) -> tuple[str, ...]:
        """One prompt for each picture."""
        return (self.prompt,) * len(self.seeds) if isinstance(self.prompt, str) else self.prompt

    def prompt_at(self, text: str, step: int, run: Run) -> str:
        """What a prompt says at step 0..steps-1 of a run."""
        return prompt_at(text, step + 1, run.steps, run.earlier) if self.prompt_signs else text

    @property
    def reading(self) -> PromptReading:
        """How its prompts are read."""
        return PromptReading(self.prompt_signs, self.clip_skip)


def request_again(recipe: Recipe, source: SourcePicture | None = None, agreed: bool = False) -> CreateRequest:
    """Return the request that makes a recipe's picture again, in a batch of the same shape.

    Its neighbours of then are not needed: any pictures in their places leave the same rounding. It is painted with the
    recipe's styles, in any order. `source` is the picture that it started from, if it did (see `img2img.kept_source`);
    raises RecipeError for another one or none.
    """
    if recipe.source != (source.sha256 if source else ""):
        raise RecipeError(
            "This picture was painted from another picture, which was not given."
            if recipe.source
            else "This picture was painted from noise alone, not from another picture.",
            "Give the picture with the hash that the recipe names." if recipe.source else "",
        )
    batch = recipe.batch_shape[0] if recipe.batch_shape else 1
    second = None
    if recipe.second_scale:
        second = SecondPass(recipe.second_scale, recipe.second_strength, recipe.second_steps)
    return CreateRequest(
        prompt=recipe.prompt,
        negative=recipe.negative,
        blends=(recipe.blend,),
        seeds=(recipe.seed,) * batch,
        steps=recipe.steps,
        guidance=recipe.guidance,
        guidance_rescale=recipe.guidance_rescale,
        sampler=recipe.sampler,
        schedule=recipe.schedule or None,
        clip_skip=recipe.clip_skip,
        prompt_signs=recipe.prompt_signs,
        width_px=recipe.width_px,
        height_px=recipe.height_px,
        only=recipe.batch_index,
        safety_checker=recipe.safety_checker,
        source=source,
        strength=recipe.source_strength,
        second_pass=second,
        agreed=agreed,
    )


@dataclass(frozen=True)
class Run:
    """One run of the sampler: steps `first` to `steps` - 1 of `steps`, at a size."""

    steps: int
    first: int
    width_px: int
    height_px: int
    earlier: int = 0  # steps of the run before it


@dataclass(frozen=True)
class Order:
    """A request with everything that the base decides filled in."""

    request: CreateRequest
    guidance: float
    guidance_rescale: float
    ids: tuple[str, ...]  # of the styles, in the order in which they were given
    blends: tuple[Blend, ...]  # one for each picture, with every style in it
    runs: tuple[Run, ...]
    vocabularies: tuple[Vocabulary, ...]  # one for each picture: the words of the styles that it hears
    chunks: tuple[int, ...]  # one for each picture: in how many its prompts are read

    @property
    def guided(self) -> bool:
        return self.guidance > 1

    @property
    def mode(self) -> str:
        return self.blends[0].mode

    def prompts_over(self, text: str) -> tuple[str, ...]:
        """All that a prompt says at any step."""
        return _over(self.request, self.runs, text)

    @property
    def steps(self) -> int:
        """How many steps are done for each picture."""
        return sum(run.steps - run.first for run in self.runs)


def fill_in(base: Base, request: CreateRequest, styles: Sequence[Style]) -> Order:
    """Check the request against the base and the styles, and complete it; raises BadInput."""
    ids = tuple(style.id or f"unsaved-{column + 1}" for column, style in enumerate(styles))
    guidance, rescale = base.default_guidance
    guidance = guidance if request.guidance is None else request.guidance
    blends, runs = _blends(request, ids), _runs(base, request)
    vocabularies = _vocabularies(base, request, dict(zip(ids, styles, strict=True)), blends)
    check_clip_skip(base, request.clip_skip)
    return Order(
        request=request,
        guidance=guidance,
        guidance_rescale=rescale if request.guidance_rescale is None else request.guidance_rescale,
        ids=ids,
        blends=blends,
        runs=runs,
        vocabularies=vocabularies,
        chunks=_chunks(base, request, runs, vocabularies, guidance > 1),
    )


def _runs(base: Base, request: CreateRequest) -> tuple[Run, ...]:
    native, multiple = base.native_size_px, base.size_multiple_px
    width, height = request.width_px or native, request.height_px or native
    if request.source is not None:
        width, height = fitted_size(request.source, native, multiple, request.width_px, request.height_px)
    for name, size in ((Text("width"), width), (Text("height"), height)):
        if size < multiple or size % multiple:
            near = max(multiple, round(size / multiple) * multiple)
            raise RecipeError(
                "A {name} of {size} px can't be painted by “{base}”.",
                "Choose a multiple of {multiple}, such as {near}.",
                name=name,
                size=size,
                base=base.name,
                multiple=multiple,
                near=near,
            )
    begin = 0 if request.source is None else first_step(request.steps, request.strength)
    runs = [Run(request.steps, begin, width, height)]
    second = request.second_pass
    if second is not None:
        steps = second.steps or request.steps
        larger = [round(side * second.scale / multiple) * multiple for side in (width, height)]
        runs.append(Run(steps, first_step(steps, second.strength), larger[0], larger[1], request.steps))
    for run in runs:
        if run.width_px * run.height_px > MAX_PIXELS or max(run.width_px, run.height_px) > MAX_SIDE_PX:
            raise RecipeError(
                "{width_px}x{height_px} px is more than can be painted.",
                "Stay under {megapixels} megapixels.",
                width_px=run.width_px,
                height_px=run.height_px,
                megapixels=MAX_PIXELS // 10**6,
            )
    return tuple(runs)


def _blends(request: CreateRequest, ids: Sequence[str]) -> tuple[Blend, ...]:
    """One blend for each picture. A style that a blend lacks is in it at weight 0, as the model carries it all the same."""
    count = len(request.seeds)
    if request.blends:
        for blend in request.blends:
            unknown = [part.style for part in blend.parts if part.style not in ids]
            if unknown:
                raise BlendError(
                    "The blend names a style that was not given: {id}.",
                    "Give all its styles.",
                    id=unknown[0][:12],
                )
        blends = tuple(_with_all(blend, ids) for blend in request.blends)
    else:
        rows = request.weights or ((1.0,) * len(ids),)
        for row in rows:
            if len(row) != len(ids):
                raise BlendError(
                    "There are {count} weights for {ids} styles.",
                    "Give one weight for each style.",
                    count=len(row),
                    ids=len(ids),
                )
        blends = tuple(Blend(tuple(map(BlendPart, ids, row))) for row in rows)
    return blends * count if len(blends) == 1 else blends


def _vocabularies(
    base: Base, request: CreateRequest, styles: dict[str, Style], blends: Sequence[Blend]
) -> tuple[Vocabulary, ...]:
    """The words of each picture's own styles: one at weight 0 or muted brings none, whatever the neighbours have."""
    check_words(base, list(styles.values()))
    heard = [
        tuple(part.style for part in blend.sounding if styles[part.style].embeddings) for blend in blends
    ]
    words = {ids: vocabulary(base, [(style, styles[style]) for style in ids]) for ids in dict.fromkeys(heard)}
    for ids, prompt in set(zip(heard, request.prompts, strict=True)):
        for text in (prompt, request.negative):
            words[ids].speaks(text)  # refuses a word that is not clear, before anything is computed
    return tuple(words[ids] for ids in heard)


def _over(request: CreateRequest, runs: Sequence[Run], text: str) -> tuple[str, ...]:
    steps = ((step, run) for run in runs for step in range(run.first, run.steps))
    return tuple(dict.fromkeys(request.prompt_at(text, step, run) for step, run in steps)) or (text,)


def _chunks(
    base: Base, request: CreateRequest, runs: Sequence[Run], vocabularies: Sequence[Vocabulary], guided: bool
) -> tuple[int, ...]:
    """In how many chunks each picture's prompts are read, the negative one too where it is; raises PromptError.

    What changes on the way has as many at each step as the longest of it: the states of a picture keep their shape.
    """
    counts, negatives = {}, _over(request, runs, request.negative) if guided else ()
    for prompt, words in dict.fromkeys(zip(request.prompts, vocabularies, strict=True)):
        texts = [*_over(request, runs, prompt), *negatives]
        for text in texts:
            check_length(base, text, words, request.reading)
        counts[prompt, words] = count_chunks(base, texts, words, request.reading)
    return tuple(counts[one] for one in zip(request.prompts, vocabularies, strict=True))


def _with_all(blend: Blend, ids: Sequence[str]) -> Blend:
    present = {part.style for part in blend.parts}
    absent = tuple(BlendPart(style, 0.0) for style in ids if style not in present)
    return Blend(blend.parts + absent, blend.mode)
