import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from styles.errors import PlanError
from styles.families import FAMILIES
from training.plan import TrainingPlan, plan_for

ABLE = [*(family.id for family in FAMILIES.values() if family.can_open), "own-32-64x96-6"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("steps", 0),
        ("steps", 2.5),
        ("steps", True),
        ("rank", 129),
        ("batch", 0),
        ("alpha", 0.0),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("learning_rate", 1.0),
        ("grad_clip", 0.0),
        ("caption_dropout", 1.5),
        ("min_snr_gamma", 0.0),
        ("min_snr_gamma", float("inf")),
        ("resolution_px", 16),
        ("seed", -1),
        ("layers", "all"),
        ("optimizer", "sgd"),
        ("base_family", "unknown"),
        ("name", "  "),
        ("preview_prompts", ("a",) * 9),
        ("opposite_every", -1),
        ("companions", ("a",) * 65),
    ],
)
def test_a_value_out_of_range_is_named(field: str, value: object) -> None:
    with pytest.raises(PlanError) as caught:
        TrainingPlan(**{"name": "x", field: value})  # type: ignore[arg-type]
    assert caught.value.hint
    assert (
        field.split("_")[-1] in caught.value.message
        or "name" in caught.value.message
        or field == "preview_prompts"
    )


@pytest.mark.parametrize("family", ABLE)
@pytest.mark.parametrize("preset", ["quick", "balanced", "thorough"])
def test_every_preset_makes_a_plan(preset: str, family: str) -> None:
    plan = plan_for(preset, family, 8, name="x")
    assert (plan.preset, plan.base_family) == (preset, family)
    assert plan.preview_prompts


def test_presets_get_longer() -> None:
    for family in ABLE:
        views = [plan_for(p, family, 8, name="x") for p in ("quick", "balanced", "thorough")]
        assert [p.steps * p.batch for p in views] == sorted({p.steps * p.batch for p in views})


def test_overrides_win_and_a_changed_rank_keeps_the_strength() -> None:
    plan = plan_for("balanced", "sd1", 8, name="x", rank=32, steps=10, seed=5)
    assert (plan.rank, plan.steps, plan.seed) == (32, 10, 5)
    usual = plan_for("balanced", "sd1", 8, name="x")
    assert plan.alpha / plan.rank == usual.alpha / usual.rank
    assert plan.preview_every <= 10
    with pytest.raises(PlanError, match="nonsense"):
        plan_for("quick", "sd1", 8, name="x", nonsense=1)
    with pytest.raises(PlanError, match="'sloppy'"):
        plan_for("sloppy", "sd1", 8, name="x")


def test_one_artwork_gets_a_small_batch() -> None:
    assert plan_for("quick", "starter", 1, name="x").batch <= 4


def test_previews_show_the_trigger() -> None:
    prompts = plan_for("quick", "sd1", 8, name="x", trigger="lake").preview_prompts
    assert prompts == ("a house by a lake", "lake, portrait of a woman")
    own = plan_for("quick", "sd1", 8, name="x", trigger="lake", preview_prompts=("a cat",))
    assert own.preview_prompts == ("a cat",)


def test_what_a_person_may_set_reaches_the_plan() -> None:
    chosen = {"batch": 1, "gradient_accumulation": 4, "gradient_checkpointing": True, "learning_rate": 1e-4}
    plan = plan_for("quick", "sd1", 8, name="x", flip=True, **chosen)
    assert plan.flip and all(getattr(plan, name) == value for name, value in chosen.items())


def test_sdxl_sees_as_much_as_the_others_at_rates_of_its_own() -> None:
    plan, other = (plan_for("balanced", family, 8, name="x") for family in ("sdxl", "sd1"))
    assert (plan.batch, plan.steps, plan.rank) == (other.batch, other.steps, other.rank)
    assert plan.learning_rate < other.learning_rate


@given(
    rate=st.floats(1e-7, 0.1),
    steps=st.integers(1, 100_000),
    gamma=st.none() | st.floats(0.01, 1000),
    name=st.text(min_size=1),
)
def test_json_keeps_every_number(rate: float, steps: int, gamma: float | None, name: str) -> None:
    plan = TrainingPlan(
        name=f"n{name}", learning_rate=rate, steps=steps, min_snr_gamma=gamma, preview_prompts=("a", "b"),
        opposite_every=steps, companions=(name,),
    )  # fmt: skip
    assert TrainingPlan.from_json(plan.to_json()) == plan


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        "{}",
        '{"name": "x", "colour": 1}',
        '{"name": "x", "steps": 0}',
        '{"name": null}',
        '{"name": "x", "preview_prompts": null}',
        '{"name": "x", "preview_prompts": [1]}',
        '{"name": "x", "companions": [1]}',
        '{"name": "x", "companions": "abc"}',
        '{"name": "x", "companions": {"a": 1}}',
        '{"name": "x", "trigger": 5}',
        '{"name": "x", "flip": "no"}',
        '{"name": "x", "learning_rate": "1"}',
    ],
)
def test_a_damaged_plan_is_refused(text: str) -> None:
    with pytest.raises(PlanError):
        TrainingPlan.from_json(text)


def test_light_modules_import_nothing_heavy() -> None:
    code = (
        "import sys, training.plan, training.events, training.job, training.artworks, training.artworks.buckets, training.__main__;"
        "heavy = {'torch', 'diffusers', 'gradio', 'transformers', 'numpy', 'peft'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
