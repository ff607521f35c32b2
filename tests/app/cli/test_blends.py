"""Mixing from the command line, on a tiny base: everything that a blend can say, and every sheet of one."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy
import pytest
from PIL import Image

from app.create.mix_orders import MixOrder, StyleOrder
from app.create.mix_tools import bake_plan
from app.studio import Studio
from styles.bases.base import open_base
from styles.errors import Cancelled
from styles.generation.png_recipe import read_recipe
from styles.library.library import Library
from styles.storage.home import Home
from tests.app.conftest import Answer, Atelier
from tests.app.mixing import home_for_mixing, lacking, style_file_of_rank
from tests.styles.painting import style_for

QUICK = ("--steps", "2", "--seed", "5", "--width", "32", "--height", "32", "--json")


@pytest.fixture(scope="module")
def mixing_home(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Path:
    """One home for all tests that don't change its styles: what was measured once is known to the next."""
    return home_for_mixing(tmp_path_factory.mktemp("mixing") / "home", tiny_base)


@pytest.fixture
def run(mixing_home: Path, atelier: Callable[[Path], Atelier]) -> Atelier:
    return atelier(mixing_home)


def made(answer: Answer) -> Path:
    """The first picture that a command has made."""
    assert answer.code == 0, answer.err
    return Path(answer.json["pictures"][0])


def weights(picture: Path) -> dict[str, float]:
    recipe = read_recipe(picture)
    return {recipe.names[part.style]: part.weight for part in recipe.blend.parts}


def apart(one: Path, other: Path) -> int:
    with Image.open(one) as first, Image.open(other) as second:
        return int(abs(numpy.asarray(first, dtype=int) - numpy.asarray(second, dtype=int)).max())


def test_all_that_a_mix_can_say_is_painted_kept_and_painted_again(run: Atelier, tmp_path: Path) -> None:
    first = run(
        "create", "a house", "--style", "Ink=0@0,0.8@0.5", "--style", "oil=-0.5", "--style", "Anti",
        "--composition", "Oil=0.5", "--texture", "ink=2", "--mute", "Anti", "--mode", "take-turns",
        "--save-blend", "Everything", "--out", tmp_path / "first", *QUICK,
    )  # fmt: skip
    recipe = read_recipe(made(first))
    parts = {recipe.names[part.style]: part for part in recipe.blend.parts}
    assert recipe.blend.mode == "take turns"
    assert parts["Ink"].schedule == ((0.0, 0.0), (0.5, 0.8)) and parts["Ink"].weight_at(0.25) == 0.4
    assert parts["Ink"].texture == 2 and parts["Oil"].weight == -0.5 and parts["Oil"].composition == 0.5
    assert parts["Anti"].muted and parts["Anti"].weight == 1, "muting keeps the weight"
    assert recipe.prompt == "ink, a house", "only what is heard, and wanted, brings its trigger word"

    kept = run("create", "a house", "--blend", "everything", "--out", tmp_path / "kept", *QUICK)
    assert made(kept).read_bytes() == made(first).read_bytes()
    again = run("create", "--from", made(first), "--out", tmp_path / "again", "--json")
    assert made(again).read_bytes() == made(first).read_bytes()
    other = run("create", "--from", made(first), "--solo", "Oil", "--out", tmp_path / "solo", "--json")
    changed = read_recipe(made(other)).blend
    assert changed.mode == "take turns" and [part.weight for part in changed.sounding] == [-0.5]
    other = run("create", "--from", made(first), "--style", "Oil=0.2", "--out", tmp_path / "oil", "--json")
    changed = read_recipe(made(other)).blend
    assert changed.mode == "take turns", "one weight is changed, and nothing else is lost"
    assert changed.changed(parts["Oil"].style, weight=-0.5) == recipe.blend
    level = run(
        "create", "x", "--blend", "everything", "--style", "Ink=0.5", "--out", tmp_path / "level", *QUICK
    )
    (ink,) = (part for part in read_recipe(made(level)).blend.parts if part.schedule or part.weight == 0.5)
    assert ink.schedule is None and ink.texture == 2, (
        "a weight takes the place of a schedule, and of nothing else"
    )
    listed = run("blends", "list").out
    assert "Ink 1 (by schedule)" in listed and "Anti 1 (muted)" in listed and "[take turns]" in listed
    run("blends", "delete", "Everything")


def test_a_strip_is_labelled_and_its_pictures_are_those_painted_alone(run: Atelier, tmp_path: Path) -> None:
    strip = run(
        "create", "a house", "--style", "Oil=0.5", "--strip", "Ink=0,0.5,1", "--plain-prompt",
        "--out", tmp_path / "strip", *QUICK,
    )  # fmt: skip
    assert strip.code == 0, strip.err
    told = strip.json
    assert told["labels"] == ["Ink 0", "Ink 0.5", "Ink 1"] and told["columns"] == 3
    assert told["seeds"] == [5, 5, 5]
    assert [weights(Path(picture))["Ink"] for picture in told["pictures"]] == [0, 0.5, 1]
    with Image.open(told["sheet"]) as sheet:
        assert sheet.width > 3 * 200
    assert len(list((tmp_path / "strip").iterdir())) == 4, "three pictures and the sheet beside them"

    mix = ("--style", "Oil=0.5", "--style", "Ink=1", "--plain-prompt")
    alone = run("create", "a house", *mix, "--out", tmp_path / "alone", *QUICK)
    assert apart(Path(told["pictures"][2]), made(alone)) <= 2
    assert apart(Path(told["pictures"][0]), made(alone)) > 2, "the weight is seen"
    again = run("create", "--from", told["pictures"][1], "--out", tmp_path / "again", "--json")
    assert made(again).read_bytes() == Path(told["pictures"][1]).read_bytes()


def test_a_map_and_leave_one_out_show_every_cell(run: Atelier, tmp_path: Path) -> None:
    told = run(
        "create", "a house", "--map", "Ink, oil", "--grid", "2x3", "--out", tmp_path / "map", *QUICK
    ).json
    assert told["labels"][0] == "Ink 0 · Oil 0" and told["labels"][-1] == "Ink 1 · Oil 1"
    assert len(told["pictures"]) == 6 and told["columns"] == 2 and Path(told["sheet"]).is_file()
    told = run(
        "create", "a house", "--style", "Ink=0.7", "--style", "Oil=0.6", "--leave-one-out",
        "--save-blend", "Pair", "--out", tmp_path / "out", *QUICK,
    ).json  # fmt: skip
    assert told["labels"] == ["all", "without Ink", "without Oil"]
    heard = [len(read_recipe(Path(picture)).blend.sounding) for picture in told["pictures"]]
    assert heard == [2, 1, 1]
    saved = json.loads(Path(told["blend"]).read_text(encoding="utf-8"))
    assert sorted(style["weight"] for style in saved["styles"]) == [0.6, 0.7]
    run("blends", "delete", "Pair")


def test_from_a_picture_and_larger_in_a_second_pass(run: Atelier, tmp_path: Path) -> None:
    Image.linear_gradient("L").save(tmp_path / "start.png")
    answer = run(
        "create", "a house", "--style", "Ink=1", "--image", tmp_path / "start.png", "--denoise", "0.5",
        "--second-pass", "1.5x", "--second-denoise", "0.4", "--out", tmp_path / "first", *QUICK,
    )  # fmt: skip
    recipe = read_recipe(made(answer))
    assert recipe.source_strength == 0.5 and (recipe.second_scale, recipe.second_strength) == (1.5, 0.4)
    with Image.open(made(answer)) as picture:
        assert picture.size == (48, 48)
    (tmp_path / "start.png").unlink()  # a copy was kept
    again = run("create", "--from", made(answer), "--out", tmp_path / "again", "--json")
    assert made(again).read_bytes() == made(answer).read_bytes()
    other = run("create", "--from", made(answer), "--seed", "9", "--out", tmp_path / "other", "--json")
    assert replace(read_recipe(made(other)), seed=5) == recipe, "all but the seed is as it was"


def test_strength_makes_sliders_equal_and_balance_keeps_to_the_budget(run: Atelier, tmp_path: Path) -> None:
    measured = run("styles", "strength", "Ink", "Oil", "--json")
    assert measured.code == 0, measured.err
    full = {style["name"]: style["strength_at_1"] for style in measured.json["styles"]}
    assert all(strength > 0.1 for strength in full.values())
    answer = run(
        "create", "a house", "--style", "Ink=0.3", "--in-strength", "--out", tmp_path / "strength", *QUICK
    )
    assert weights(made(answer))["Ink"] == pytest.approx(0.3 / full["Ink"])

    loud = ("--style", f"Ink={2 / full['Ink']:.6f}", "--style", f"Oil={2 / full['Oil']:.6f}")
    burnt = run("create", "a house", *loud, "--out", tmp_path / "loud", *QUICK)
    assert any("burn" in notice for notice in burnt.json["notices"]) and "burn" in burnt.err
    answer = run("create", "a house", *loud, "--balance", "--out", tmp_path / "balanced", *QUICK)
    mix = [f"{name}={weight:.9f}" for name, weight in weights(made(answer)).items()]
    told = run("styles", "strength", *mix, "--json").json
    assert told["total"] == pytest.approx(told["limit"], rel=1e-3)

    strip = run(
        "create", "a house", "--strip", "Ink=0,0.2", "--in-strength", "--out", tmp_path / "strip", *QUICK
    )
    assert strip.json["labels"] == ["Ink 0", "Ink 0.2"], "labelled in what was asked for"
    last = Path(strip.json["pictures"][1])
    assert weights(last)["Ink"] == pytest.approx(0.2 / full["Ink"])


def test_a_blend_travels_and_says_what_is_missing(
    run: Atelier, mixing_home: Path, tmp_path: Path, atelier: Callable[[Path], Atelier]
) -> None:
    saved = run(
        "blends", "save", "Night", "--style", "Ink=0.7", "--style", "Oil=0.2", "--mode", "average guidance",
        "--json",
    )  # fmt: skip
    assert saved.code == 0, saved.err
    assert Path(saved.json["blend"]) == mixing_home / "blends" / "Night.json"
    (listed,) = run("blends", "list", "--json").json["blends"]
    assert listed["name"] == "Night" and listed["missing"] == [] and listed["mode"] == "average guidance"
    assert {style["name"]: style["weight"] for style in listed["styles"]} == {"Ink": 0.7, "Oil": 0.2}
    exported = Path(run("blends", "export", "night", tmp_path / "share", "--json").json["blend"])

    shutil.copytree(mixing_home, tmp_path / "other", ignore=shutil.ignore_patterns("blends", "Oil.*"))
    other = atelier(tmp_path / "other")
    told = other("blends", "import", exported)
    assert told.code == 0 and "Oil" in told.out and "import them first" in told.out
    shown = other("blends", "show", "Night", "--json").json
    assert [style["name"] for style in shown["styles"] if style["id"] in shown["missing"]] == ["Oil"]
    refused = other("create", "a house", "--blend", "Night", *QUICK)
    assert refused.code == 2 and "Oil" in refused.json["error"]["message"]
    assert other("blends", "import", exported, "--json").code == 2, "it is here already"
    assert Path(other("blends", "delete", "Night", "--json").json["trash"]).is_file()
    assert other("blends", "list", "--json").json["blends"] == []
    run("blends", "delete", "Night")


def test_a_mix_is_baked_into_a_style_that_paints_like_it(
    mixing_home: Path, tmp_path: Path, atelier: Callable[[Path], Atelier]
) -> None:
    shutil.copytree(mixing_home, tmp_path / "home")
    run = atelier(tmp_path / "home")
    mix = ("--style", "Ink=0.4", "--style", "Oil=-0.3")
    baked = run("styles", "bake", "Both", *mix, "--composition", "Ink=0.5", "--json")
    assert baked.code == 0, baked.err
    assert baked.json["bake"]["method"] == "exact" and baked.json["bake"]["error"] < 2e-3
    assert {one["name"]: one["weight"] for one in baked.json["bake"]["parents"]} == {"Ink": 0.4, "Oil": -0.3}
    create = ("create", "a house", "--plain-prompt", *QUICK)
    live = run(*create, *mix, "--composition", "Ink=0.5", "--out", tmp_path / "live")
    copy = run(*create, "--style", "Both=1", "--out", tmp_path / "copy")
    plain = run(*create, "--out", tmp_path / "plain")
    assert apart(made(live), made(copy)) <= 2 < apart(made(live), made(plain))

    squeezed = run("styles", "bake", "Small", *mix, "--rank", "1", "--json").json
    assert squeezed["rank"] == 1 and squeezed["bake"]["error"] > 0.1
    for way in ("ties", "dare"):
        merged = run("styles", "bake", way.upper(), *mix, f"--{way}", "--rank", "2", "--json")
        assert merged.code == 0 and merged.json["bake"]["method"] == way

    run("blends", "save", "Turns", *mix, "--mode", "take-turns")
    refused = run("styles", "bake", "Turned", "--blend", "Turns", "--json")
    assert refused.code == 2 and "as a sum" in refused.json["error"]["hint"]
    assert run("styles", "bake", "Turned", "--blend", "Turns", "--mode", "sum").code == 0, "as the hint says"


def test_a_licence_that_forbids_it_is_told_before_the_bake(
    mixing_home: Path, tmp_path: Path, atelier: Callable[[Path], Atelier], monkeypatch: pytest.MonkeyPatch
) -> None:
    pty = pytest.importorskip("pty", reason="Windows has no terminal that a test can open")
    shutil.copytree(mixing_home, tmp_path / "home")
    run, home = atelier(tmp_path / "home"), Home(tmp_path / "home")
    run("styles", "edit", "Ink", "--licence", "CC-BY-ND-4.0")
    bake = ("styles", "bake", "Both", "--style", "Ink=0.5", "--style", "Oil=0.5", "--rank", "2")
    told = run(*bake, "--json")
    assert told.code == 2 and "“Ink” (CC-BY-ND-4.0) forbids" in told.json["error"]["message"]
    assert "--yes" in told.json["error"]["hint"]
    ours, terminal = pty.openpty()
    with open(terminal, encoding="utf-8") as typed:
        monkeypatch.setattr("sys.stdin", typed)
        os.write(ours, b"n\n")
        told = run(*bake)
        assert told.code != 0 and "forbids" in told.err and "Nothing was baked" in told.err
        assert "Both" not in [card.name for card in Library(home).cards()]
        os.write(ours, b"y\n")
        assert run(*bake).code == 0
    os.close(ours)
    assert run("styles", "bake", "Third", "--style", "Both=1", "--style", "Oil=1", "--json").code == 2, (
        "a parent's licence counts, too"
    )
    assert run(*bake, "--yes", "--json").code == 0
    assert run("styles", "bake", "Small", "--style", "Oil=1", "--rank", "1", "--json").code == 0


def test_conflicts_name_the_pair_that_fights_and_a_mode(run: Atelier) -> None:
    told = run("styles", "conflicts", "Ink", "Oil", "Anti", "--json").json
    worst = told["pairs"][0]
    assert sorted(worst["names"]) == ["Anti", "Ink"] and worst["fights"]
    assert worst["cosine"] == pytest.approx(-1, abs=1e-3) and told["mode"] == "take turns"
    assert worst["where"] and not told["pairs"][1]["fights"]
    words = run("styles", "conflicts", "Ink", "Anti=-1").out
    assert "pull the same way" in words
    assert "pull the same way" in run("styles", "conflicts", "Ink", "Anti=0@0,-1@1").out


def test_a_saved_blend_is_judged_with_all_that_it_says(run: Atelier) -> None:
    assert run("blends", "save", "Foes", "--style", "Ink=1.5", "--style", "Anti=1", "--style", "Oil", "--mute", "Oil").code == 0  # fmt: skip
    (pair,) = run("styles", "conflicts", "--blend", "Foes", "--json").json["pairs"]
    assert pair["fights"] and sorted(pair["names"]) == ["Anti", "Ink"]
    told = run("styles", "conflicts", "--blend", "Foes", "--mode", "average-guidance").out
    assert "neither stands in the other's way" in told and told.rstrip().endswith("Mode: average guidance.")
    assert run("styles", "conflicts", "--blend", "Foes", "Oil=0.5", "Anti=0").code == 2, "one is heard alone"
    summed, turns = (
        run("styles", "strength", "--blend", "Foes", "--mode", mode, "--json").json
        for mode in ("sum", "take turns")
    )
    weights = {style["name"]: style["weight"] for style in summed["styles"]}
    assert weights == {"Ink": 1.5, "Anti": 1, "Oil": 1}
    by_name = {style["name"]: style for style in turns["styles"]}
    assert turns["total"] == pytest.approx(1.5 * by_name["Ink"]["strength_at_1"], rel=1e-3)
    assert summed["total"] > 1.1 * turns["total"]
    run("blends", "delete", "Foes")


@pytest.mark.parametrize("method", ["ties", "dare", "squeezed"])
def test_a_bake_that_is_stopped_leaves_nothing(method: str, mixing_home: Path) -> None:
    studio = Studio(Home(mixing_home))
    order = MixOrder(tuple(StyleOrder(name, 0.5) for name in ("Ink", "Oil")))
    plan = bake_plan("Broken off", method, 2)
    before = sorted(mixing_home.rglob("*"))
    shares: list[float] = []
    with pytest.raises(Cancelled, match="Stopped after 2 of"):
        studio.bake(order, plan, cancelled=lambda: len(shares) == 3, progress=shares.append)
    assert shares[0] == 0 and shares == sorted(shares) and shares[-1] < 1

    def interrupted(share: float) -> None:
        if share > 0:
            signal.raise_signal(signal.SIGINT)

    before_us = signal.signal(signal.SIGINT, signal.default_int_handler)  # a worker of pytest ignores it
    try:
        with pytest.raises(KeyboardInterrupt):
            studio.bake(order, plan, progress=interrupted)
    finally:
        signal.signal(signal.SIGINT, before_us)
    assert sorted(mixing_home.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["create", "x", "--style", "Ink=nan@0,1@1"], "finite"),
        (["create", "x", "--style", "Ink=1@0.5,0@0"], "backwards"),
        (["create", "x", "--style", "Ink=1@1.5"], "1.5"),
        (["create", "x", "--style", "Ink=9@0"], "Ink"),
        (["create", "x", "--style", "Ink=1", "--style", "ink=2@0"], "twice"),
        (["create", "x", "--style", "Ink", "--texture", "Ink=1", "--texture", "ink=2"], "given twice"),
        (["create", "x", "--style", "Ink=1", "--composition", "Oil=1"], "Oil"),
        (["create", "x", "--style", "Ink=1", "--texture", "Ink=-1"], "texture"),
        (["create", "x", "--style", "Ink=1", "--texture", "Ink=inf"], "inf"),
        (["create", "x", "--mute", "Ink"], "not in the mix"),
        (["create", "x", "--style", "Ink=1", "--mode", "shuffle"], "take turns"),
        (["create", "x", "--strip", "Nobody"], "Nobody"),
        (["create", "x", "--strip", "Ink=1"], "1 weights"),
        (["create", "x", "--strip", "Ink=0,nan"], "finite"),
        (["create", "x", "--strip", "Ink=" + ",".join(["1"] * 26), "--base", "nowhere"], "26 weights"),
        (["create", "x", "--map", "Ink,Oil", "--grid", "99x3", "--base", "nowhere"], "99 columns"),
        (["create", "x", "--map", "Ink,ink", "--base", "nowhere"], "twice"),
        (["create", "x", "--strip", "Ink", "--count", "2"], "one seed"),
        (["create", "x", "--strip", "Ink", "--balance"], "balanced"),
        (["create", "x", "--strip", "Ink", "--save-blend", "S"], "one blend"),
        (["create", "x", "--strip", "Ink", "--leave-one-out"], "one sheet"),
        (["create", "x", "--leave-one-out"], "leave out"),
        (["create", "x", "--map", "Ink"], "two"),
        (["create", "x", "--map", "Ink,Oil", "--grid", "3"], "3x3"),
        (["create", "x", "--map", "Ink,Oil", "--grid", "1x3"], "columns"),
        (["create", "x", "--grid", "2x2"], "map"),
        (["create", "x", "--image", "nowhere.png"], "nowhere.png"),
        (["create", "x", "--denoise", "0.5"], "start from"),
        (["create", "x", "--second-pass", "large"], "large"),
        (["create", "x", "--second-pass", "nan"], "nan"),
        (["create", "x", "--second-pass", "1x"], "second pass"),
        (["create", "x", "--second-denoise", "0.5"], "second pass"),
        (["create", "x", "--blend", "Nothing"], "Nothing"),
        (["create", "x", "--style", "Ink=1", "--save-blend", "a/b"], "a/b"),
        (["blends", "save", "Empty"], "no style"),
        (["blends", "show", "Nothing"], "Nothing"),
        (["blends", "import", "nowhere.json"], "nowhere.json"),
        (["styles", "bake", "Empty"], "nothing to bake"),
        (["styles", "bake", "New", "--style", "Ink=1@0,0@1"], "over the steps"),
        (["styles", "bake", "New", "--style", "Ink=1", "--style", "Anti=1"], "cancel"),
        (["styles", "bake", "New", "--style", "Ink=1", "--rank", "0"], "0"),
        (["styles", "bake", "New", "--style", "Ink=1", "--rank", "99999"], "99999"),
        (["styles", "bake", "New", "--style", "Ink=1", "--ties", "--dare"], "one way"),
        (["styles", "bake", "New", "--style", "Ink=1", "--density", "0.5"], "density"),
        (["styles", "conflicts", "Ink"], "two"),
        (["styles", "conflicts"], "two"),
        (["styles", "conflicts", "--blend", "Nothing"], "Nothing"),
        (["styles", "strength"], "no style"),
        (["styles", "strength", "Ink", "--mode", "shuffle"], "take turns"),
        (["styles", "strength", "Nobody"], "Nobody"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_bad_mix_is_told_in_words_and_changes_nothing(
    arguments: list[str], says: str, run: Atelier, mixing_home: Path
) -> None:
    def files() -> list[Path]:
        folders = ("styles", "pictures", "blends", "trash")
        return sorted(path for folder in folders for path in (mixing_home / folder).glob("**/*"))

    before = files()
    told = run(*arguments, "--json")
    assert told.code == 2, told.err
    error = told.json["error"]
    assert says.casefold() in (error["message"] + error["hint"]).casefold()
    assert files() == before


def test_a_style_that_the_base_cannot_carry_whole_is_refused(
    mixing_home: Path, tiny_base: Path, tiny_sd1: Path, tmp_path: Path, atelier: Callable[[Path], Atelier]
) -> None:
    shutil.copytree(mixing_home, tmp_path / "home")
    run, home = atelier(tmp_path / "home"), Home(tmp_path / "home")
    base = open_base(tiny_base, home, device="cpu")
    style = style_for(base, 3)
    for rank in (0, 600):
        told = run(
            "styles", "import", style_file_of_rank(tmp_path / f"{rank}.safetensors", style, rank), "--json"
        )
        assert told.code == 2 and told.json["refused"], told.out
    Library(home).add(lacking(style))
    told = run("create", "x", "--style", "Elsewhere=1", "--style", "Ink=1", *QUICK)
    assert told.code == 2 and "up_blocks.7" in told.json["error"]["message"], told.err
    told = run("create", "x", "--strip", "Ink", "--base", tiny_sd1, *QUICK)
    assert told.code == 2 and "starter" in told.json["error"]["message"]
    assert not list(home.pictures.glob("*.png"))


def test_forty_styles_at_once_are_painted_with_a_warning(
    mixing_home: Path, tiny_base: Path, tmp_path: Path, atelier: Callable[[Path], Atelier]
) -> None:
    shutil.copytree(mixing_home, tmp_path / "home")
    home = Home(tmp_path / "home")
    base, library = open_base(tiny_base, home, device="cpu"), Library(Home(tmp_path / "home"))
    mix = []
    for number in range(40):
        style = style_for(base, 100 + number, strength=0.02)
        style = replace(style, layers=style.layers[:1], card=replace(style.card, name=f"Many {number}"))
        library.add(style)
        mix += ["--style", f"Many {number}=1"]
    told = atelier(tmp_path / "home")("create", "x", *mix, *QUICK)
    assert len(read_recipe(made(told)).blend.parts) == 40
    assert any("burn" in notice for notice in told.json["notices"])
