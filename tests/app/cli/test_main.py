"""The command line as people and scripts use it, on a tiny base."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from app.create.history import recipe_words
from app.studio import Studio
from app.window.settings.base_cards import base_card
from app.window.settings.four_bits import sizes_gb
from styles.bases.base import open_base
from styles.formats.safetensors_header import open_header
from styles.generation.png_recipe import read_recipe, save_picture
from styles.library.library import Library
from styles.storage.home import Home
from tests.app.conftest import Atelier, Trained, process_over
from tests.conftest import REPOSITORY
from tests.styles.library_files import put
from tests.styles.mixing.test_group_merge import grouped_styles
from training.job import Job


def test_train_answers_with_one_json_object_and_a_style_in_the_library(trained: Trained) -> None:
    told = trained.answer.json
    assert Path(told["style"]) == trained.home / "styles" / "Rings.safetensors"
    assert Path(told["style"]).is_file()
    assert told["steps"] == 4 and told["seconds"] > 0 and len(told["id"]) == 64
    assert "Training" in trained.answer.err, "progress goes to standard error"


@pytest.mark.slow
def test_train_is_told_any_number_of_the_plan(
    tmp_path: Path, artworks: Path, tiny_base: Path, atelier: Callable[[Path], Atelier]
) -> None:
    run = atelier(tmp_path / "home")
    told = run(
        "train", "Set", artworks, "--base", tiny_base, "--resolution", "64", "--set", "steps=2",
        "--set", "preview-prompts=a house", "--set", "preview_prompts=a cat, at night", "--set", "warmup_fraction=0.5", "--json",
    )  # fmt: skip
    plan = Job.open(tmp_path / "home" / "jobs" / told.json["job"]).plan
    assert (told.json["steps"], plan.warmup_fraction) == (2, 0.5)
    assert plan.preview_prompts == ("a house", "a cat, at night")
    for setting, said in (
        ("x=1", "preview_every"),
        ("steps", "NAME=VALUE"),
        ("steps=many", "digits"),
        ("steps=0", "steps"),
        ("steps=", "NAME=VALUE"),
        ("flip=maybe", "neither yes nor no"),
        ("resolution_px=32", "given twice"),
    ):
        refused = run("train", "Set", artworks, "--base", tiny_base, "--resolution", "64", "--set", setting)
        assert refused.code == 2 and said in refused.err
    assert [card["name"] for card in run("jobs", "list", "--json").json["jobs"]] == ["Set"]


def test_create_again_makes_the_same_file(
    home_with_style: Path,
    tiny_base: Path,
    tmp_path: Path,
    atelier: Callable[[Path], Atelier],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = process_over(home_with_style)(
        "create", "a red house", "--style", "Rings=0.7", "--base", tiny_base,
        "--seed", "11", "--count", "2", "--steps", "3", "--out", tmp_path / "first", "--json",
    )  # fmt: skip
    assert made.code == 0, made.err
    assert made.json["seeds"] == [11, 12]
    second = Path(made.json["pictures"][1])
    recipe = read_recipe(second)
    assert recipe.prompt == "rings, a red house", "the trigger word is added"
    assert [part.weight for part in recipe.blend.parts] == [0.7]

    run = atelier(home_with_style)
    for prompt in ((), ("",)):
        again = run("create", *prompt, "--from", second, "--out", tmp_path / "again", "--json")
        assert again.code == 0, again.err
        assert Path(again.json["pictures"][0]).read_bytes() == second.read_bytes()

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))  # where Windows looks
    again = run("create", "--from", f"~/first/{second.name}", "--out", "~/again", "--json")
    assert again.code == 0 and Path(again.json["pictures"][0]).parent == tmp_path / "again"

    other = run("create", "--from", second, "--seed", "99", "--out", tmp_path / "other", "--json")
    assert other.json["seeds"] == [99]
    assert Path(other.json["pictures"][0]).read_bytes() != second.read_bytes()
    boat = run("create", "a boat", "--from", second, "--out", tmp_path / "other", "--json")
    assert read_recipe(Path(boat.json["pictures"][0])).prompt == "rings, a boat"
    assert "another base" not in boat.err + again.err

    elsewhere = replace(recipe, base="somebody's", base_fingerprint="0" * 64)
    image = Image.open(second)
    image.load()
    foreign = save_picture(image, elsewhere, tmp_path / "foreign")
    for changes in ((), ("a boat",)):
        told = run("create", *changes, "--from", foreign, "--base", tiny_base, "--out", tmp_path / "other")
        assert told.code == 0 and "made on another base (somebody's)" in told.err


def test_a_style_is_exported_deleted_restored_and_imported(
    home_with_style: Path, tmp_path: Path, atelier: Callable[[Path], Atelier]
) -> None:
    run = atelier(home_with_style)
    exported = Path(run("styles", "export", "Rings", tmp_path / "share", "--json").json["style"])
    assert exported.is_file()
    assert run("styles", "delete", "Rings").code == 0
    assert "Rings" not in [card["name"] for card in run("styles", "list", "--json").json["styles"]]
    assert run("styles", "restore", "Rings").code == 0
    assert run("styles", "delete", "Rings").code == 0

    text = tmp_path / "notes.safetensors"
    text.write_text("these are no tensors", encoding="utf-8")
    shown = run("styles", "import", exported, text, "--dry-run", "--json")
    assert shown.code == 2 and "Rings" not in [one.name for one in Library(Home(home_with_style)).cards()]
    assert "as its layers show" in run("styles", "import", exported, "--dry-run").out
    report = run("styles", "import", exported, text, "--json")
    assert report.code == 2
    (card,) = report.json["styles"]
    assert shown.json["styles"][0]["id"] == card["id"]
    assert shown.json["refused"] == report.json["refused"]
    assert card["name"] == "Rings" and card["family"] == "starter" and card["rank"] == 8
    assert card["layers"]["unet"] > 0 and card["problems"] == []
    (refused,) = report.json["refused"]
    assert Path(refused["file"]) == text and refused["reason"]
    assert run("styles", "show", "rings", "--json").json["trigger"] == "rings"


def test_a_style_without_a_picture_gets_one_when_it_is_asked_for(
    home_with_style: Path, tiny_base: Path, atelier: Callable[[Path], Atelier]
) -> None:
    run, library = atelier(home_with_style), Library(Home(home_with_style))
    library.edit("Rings", thumbnail=None)
    put(library.folder / "For another.safetensors", 1, family="sd1")
    made = run("styles", "picture", "--base", tiny_base, "--json")
    assert made.code == 2 and [card["name"] for card in made.json["styles"]] == ["Rings"]
    assert "Stable Diffusion 1" in made.json["refused"][0]["reason"]
    assert library.find("Rings").thumbnail and (library.folder / "Rings.jpg").is_file()
    assert "has a picture" in run("styles", "picture", "Rings", "--base", tiny_base).err


def test_captions_go_along_only_if_the_artist_says_so(
    home_with_style: Path, tmp_path: Path, atelier: Callable[[Path], Atelier]
) -> None:
    run = atelier(home_with_style)
    (artwork,) = home_with_style.glob("jobs/*/artworks/000.png")
    artwork.with_suffix(".txt").write_text("a wet cat, at sea", encoding="utf-8")

    def counts(*options: str) -> dict[str, int]:
        done = run("styles", "export", "Rings", tmp_path / "share", *options, "--json")
        assert ("No captions are known" in done.err) is False
        told = open_header(Path(done.json["style"])).metadata.get("ss_tag_frequency", "{}")
        return next(iter(json.loads(told).values()), {})

    assert counts() == {"rings": 1}  # its trigger, which its card tells as well
    assert counts("--with-captions") == {"rings": 3, "a wet cat": 1, "at sea": 1}
    seen = run("styles", "export", "Rings", ".", "--with-captions", "--only-show", "--json").json["seen"]
    assert [one["key"] for one in seen if one["private"]] == ["ss_tag_frequency"]
    shutil.rmtree(home_with_style / "jobs")
    assert "No captions are known" in run("styles", "export", "Rings", tmp_path, "--with-captions").err


def test_home_may_stand_before_or_after_the_command(
    trained: Trained, tmp_path: Path, atelier: Callable[[Path], Atelier]
) -> None:
    elsewhere = atelier(tmp_path / "elsewhere")
    for arguments in (
        ("--home", trained.home, "styles", "list", "--json"),
        ("styles", "list", "--home", trained.home, "--json"),
    ):
        assert "Rings" in [card["name"] for card in elsewhere(*arguments).json["styles"]]


def test_bases_can_be_added_used_and_removed(
    tmp_path: Path, tiny_base: Path, atelier: Callable[[Path], Atelier]
) -> None:
    run = atelier(tmp_path / "home")
    assert run("bases", "add", tiny_base, "--json").json["family"] == "starter"
    assert run("bases", "use", "tiny").code == 0
    bases = {base["name"]: base for base in run("bases", "list", "--json").json["bases"]}
    assert bases["tiny"]["in_use"] and not bases["starter"]["in_use"]
    made = run("create", "a house", "--steps", "1", "--seed", "1", "--json")
    assert made.code == 0 and Path(made.json["pictures"][0]).parent == tmp_path / "home" / "pictures"

    kept = run("bases", "use", "tiny", "--quantize", "qa4-16")
    assert kept.code == 0 and "groups of 16" in kept.out + run("bases", "list").out
    four = run("create", "a house", "--steps", "1", "--seed", "1", "--json")
    eight = run("create", "a house", "--steps", "1", "--seed", "1", "--quantize", "none", "--json")
    pictures = [Path(one.json["pictures"][0]) for one in (made, four, eight)]
    assert [read_recipe(one).quantize for one in pictures] == ["none", "qa4-16", "none"]
    assert pictures[0].read_bytes() == pictures[2].read_bytes() != pictures[1].read_bytes()
    again = run("create", "--from", pictures[0], "--out", tmp_path / "again", "--json")
    assert Path(again.json["pictures"][0]).read_bytes() == pictures[0].read_bytes()
    assert run("bases", "change", "starter", "--quantize", "qa4-64", "--json").json["quantize"] == "qa4-64"
    assert run("bases", "use", "tiny", "--quantize", "int8", "--json").code == 2
    assert run("bases", "remove", "tiny").code == 0
    assert tiny_base.is_dir(), "a base that lies elsewhere is only forgotten"

    contradicted = run("bases", "add", tiny_base, "--prediction-type", "epsilon", "--json")
    assert contradicted.code == 2 and "epsilon" in contradicted.json["error"]["message"]
    named = run("bases", "add", tiny_base, "--name", "mine", "--prediction-type", "v_prediction", "--json")
    assert named.json["name"] == "mine"
    assert run("bases", "change", "mine", "--vae", tiny_base, "--json").json["vae"] == str(tiny_base)
    assert f"VAE {tiny_base}" in run("bases", "list").out
    assert run("bases", "change", "mine", "--json").json["vae"] == ""
    refused = run("bases", "change", "mine", "--vae", tiny_base / "unet", "--json")
    assert refused.code == 2 and "not an AutoencoderKL" in refused.json["error"]["message"]


def test_styles_are_merged_into_a_base_of_its_own(
    tmp_path: Path, tiny_base: Path, artworks: Path, atelier: Callable[[Path], Atelier]
) -> None:
    home, run = Home(tmp_path / "home").create(), atelier(tmp_path / "home")
    assert run("bases", "add", tiny_base, "--name", "Tiny").code == 0
    base = open_base("Tiny", home, device="cpu", quantize="qa4-32")
    for number, style in enumerate(grouped_styles(base, 32)):
        card = replace(style.card, licence="CC-BY-ND-4.0" if number else "CC0-1.0", suggested_weight=0.5)
        Library(home).add(replace(style, card=card))
    mix = ("--style", "ink 0", "--style", "ink 1=-0.3")
    forbidden = run("bases", "merge", "Tiny", *mix, "--out", "Mine", "--json")
    assert forbidden.code == 2 and "--yes" in forbidden.json["error"]["hint"]
    done = run("bases", "merge", "Tiny", *mix, "--out", "Mine", "--yes", "--json")
    assert done.code == 0, done.err
    assert "have no slider" in done.err, "what is given up is said before"
    assert (done.json["name"], done.json["quantize"], done.json["state"]) == ("Mine", "qa4-32", "here")
    assert all(said in done.json["notes"][0] for said in ("Merged of Tiny", "ink 0 at 0.5", "ink 1 at -0.3"))
    assert run("bases", "use", "Mine").code == 0
    made = run("create", "a house", "--style", "ink 0=0.2", "--steps", "1", "--seed", "1", "--json")
    assert "“ink 0” is merged into this base already" in made.err
    recipe = read_recipe(Path(made.json["pictures"][0]))
    assert recipe.quantize == "qa4-32" and "On Mine, in four bits with groups of 32." in recipe_words(recipe)
    for arguments, said in (
        (("Tiny", *mix, "--out", "Mine", "--yes"), "already a base"),
        (("Tiny", "--style", "ink 0=0", "--out", "New"), "at weight 0"),
        (("Tiny", "--style", "ink 0=0@0,1@1", "--out", "New"), "has a schedule"),
        (("Tiny", "--style", "nobody", "--out", "New"), "nobody"),
        (("Nowhere", "--style", "ink 0", "--out", "New"), "Nowhere"),
    ):
        refused = run("bases", "merge", *arguments, "--json")
        assert refused.code == 2 and said in refused.json["error"]["message"]
    for arguments in (
        ("bases", "use", "Mine", "--quantize", "none"),
        ("train", "Other", artworks, "--base", "Mine", "--quantize", "nf4"),
        ("create", "a house", "--base", "Mine", "--quantize", "qa4-16"),
    ):
        refused = run(*arguments, "--json")
        assert refused.code == 2 and "as it was merged" in refused.json["error"]["message"]
    studio = Studio(home)
    entries = studio.shelf.list()
    sizes = sizes_gb(studio, entries)
    assert "Tiny" in sizes and "Mine" not in sizes, "there is nothing to choose"
    (drawn,) = (base_card(one, sizes=sizes.get(one.name)) for one in entries if one.name == "Mine")
    assert "Merged of Tiny with" in drawn and "CC-BY-ND-4.0" in drawn and "In four bits" not in drawn
    assert run("bases", "remove", "Mine").code == 0 and (home.trash / "Mine" / "merged.json").is_file()


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys, app.cli.main\n"
        "code = app.cli.main.main(['train', '--help'])\n"
        "heavy = {'torch', 'diffusers', 'transformers', 'gradio', 'PIL'} & set(sys.modules)\n"
        "sys.exit(code or (f'imported {heavy}' if heavy else 0))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr
    assert "--preset" in done.stdout


def test_the_launcher_knows_each_command() -> None:
    import launch
    from app.cli.main import commands

    names = {
        command.name or getattr(command.callback, "__name__", "") for command in commands.registered_commands
    }
    names |= {group.name or "" for group in commands.registered_groups}
    assert names | {"test"} == set(launch.COMMANDS), "test is the launcher's own"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["train", "Rings", "nowhere"], "nowhere"),
        (["train", "a/b", "ART"], "a/b"),
        (["train", "..", "ART"], ".."),
        (["train", "🎨", "ART"], "can't be the name"),
        (["train", "Rings", "ART", "--preset", "sometimes", "--base", "BASE"], "sometimes"),
        (["train", "Rings", "ART", "--rank", "0", "--base", "BASE"], "rank"),
        (["train", "Rings", "ART", "--base", "nosuch"], "nosuch"),
        (["train", "Rings", "EMPTY", "--base", "BASE"], "no pictures"),
        (["create", "a house", "--base", "nosuch"], "nosuch"),
        (["create", "a house", "--base", "model.ckpt"], "pickle"),
        (["create", "a house", "--style", "Nobody=1"], "Nobody"),
        (["create", "a house", "--style", "Rings=nan"], "Rings=nan"),
        (["create", "a house", "--style", "Rings=inf"], "inf"),
        (["create", "a house", "--style", "Rings=lots"], "lots"),
        (["create", "a house", "--style", "Rings=1", "--style", "rings=0.5", "--base", "BASE"], "twice"),
        (["create", "a house", "--width", "65", "--base", "BASE"], "65"),
        (["create", "a house", "--steps", "0"], "steps"),
        (["create", "a house", "--count", "-1"], "count"),
        (["create", "a house", "--sampler", "magic"], "magic"),
        (["create", "a house", "--out", "ART/0.png"], "folder"),
        (["create", "a (house:1e9)"], "“house” has the weight 1e+09"),
        (["create", "a house", "--negative", "(" * 1000 + "fog"], "weight 2.46993e+41"),
        (["create", "a (house:1.2.3)"], "no weight"),
        (["create", "a house " * 2501], "20008 characters"),
        (["create", "a house", "--clip-skip", "0"], "clip skip is 0"),
        (["create", "a house", "--clip-skip", "9", "--base", "BASE"], "1 layer"),
        (["train", "Rings", "ART", "--clip-skip", "13", "--base", "BASE"], "clip skip is 13"),
        (["train", "Rings", "ART", "--set", "preview_prompts=(a:99)", "--base", "BASE"], "weight 99"),
        (["create", "a \udcff house", "--steps", "1", "--base", "BASE"], "no character"),
        (["train", "su\udcff", "ART", "--base", "BASE"], "can't be the name"),
        (["train", "Rings", "ART", "--author", "\udcff", "--base", "BASE"], "no character"),
        (["train", "Rings", "ART", "--set", "companions=" + "a" * 1001, "--base", "BASE"], "companions"),
        (["train", "More", "ART", "--continue", "Rings", "--rank", "1", "--base", "BASE"], "rank"),
        (["--home", "", "styles", "list"], "no folder"),
        (["create", "a house", "--image", "nowhere.png", "--base", "BASE"], "no picture at"),
        (["create", "a house", "--save-blend", "None", "--base", "BASE"], "no style"),
        (["create", "a house", "--strip", "Rings=0@0,1@0.5"], "NAME=0,0.5,1"),
        (["create"], "prompt"),
        (["create", "--from", "ART/0.png"], "recipe"),
        (["create", "--from", "nowhere.png"], "nowhere.png"),
        (["styles", "show", "Nobody"], "Nobody"),
        (["styles", "export", "Nobody", "."], "Nobody"),
        (["bases", "use", "nosuch"], "nosuch"),
        (["jobs", "resume", "nosuch"], "nosuch"),
        (["frobnicate"], "frobnicate"),
        (["create", "x", "--stylo", "a=1"], "--stylo"),
        (["--port", "99999"], "port"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_told_in_words(
    arguments: list[str], says: str, trained: Trained, artworks: Path, tiny_base: Path, tmp_path: Path,
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from app.cli.main import main

    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("ATELIER_HOME", str(trained.home))
    places = {"ART": str(artworks), "EMPTY": str(tmp_path / "empty"), "BASE": str(tiny_base)}
    given = [
        argument.replace("ART", places["ART"], 1)
        if argument.startswith("ART")
        else places.get(argument, argument)
        for argument in arguments
    ]
    jobs = sorted((trained.home / "jobs").iterdir())
    assert main([*given, "--json"]) == 2
    out, err = capfd.readouterr()
    told = json.loads(out)
    assert told["exit_code"] == 2
    assert says.casefold() in (told["error"]["message"] + told["error"]["hint"]).casefold()
    printed = told["error"]["message"].encode(errors="replace").decode()
    assert printed in err and "Traceback" not in err
    assert sorted((trained.home / "jobs").iterdir()) == jobs, "no job folder is left behind"


def test_a_style_for_another_family_names_both(
    trained: Trained, tiny_sd1: Path, artworks: Path, atelier: Callable[[Path], Atelier]
) -> None:
    for command in (
        ("create", "a house", "--style", "Rings=1"),
        ("train", "Rings", artworks, "--continue", "Rings"),
    ):
        told = atelier(trained.home)(*command, "--base", tiny_sd1, "--json")
        assert told.code == 2
        message = told.json["error"]["message"] + told.json["error"]["hint"]
        assert "starter" in message and "Stable Diffusion 1" in message


def test_a_prompt_that_is_too_long_says_what_was_cut(
    trained: Trained, tiny_base: Path, tmp_path: Path, atelier: Callable[[Path], Atelier]
) -> None:
    long = "house " * 100 + "lighthouse"
    told = atelier(trained.home)(
        "create", long, "--base", tiny_base, "--steps", "1", "--out", tmp_path, "--json"
    )
    assert told.code == 0 and len(told.json["pictures"]) == 1
    assert "lighthouse" in told.err


def test_a_surprise_is_logged_and_its_log_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.cli.main import main

    def broken(*arguments: object, **named: object) -> None:
        raise ZeroDivisionError("division by zero")

    home = tmp_path / "home"
    shutil.copytree(Path(__file__).parent, home / "styles")  # any files: they are no styles
    monkeypatch.setattr(Library, "search", broken)
    assert main(["styles", "search", "x", "--home", str(home)]) == 1
    err = capsys.readouterr().err
    (log,) = (home / "log").glob("*.log")
    assert str(log) in err and "Traceback" not in err
    assert "Traceback" in log.read_text(encoding="utf-8")


def test_one_more_artwork_continues_a_style_and_more_would_be_better(
    home_with_style: Path, tmp_path: Path, tiny_base: Path, atelier: Callable[[Path], Atelier]
) -> None:
    art = tmp_path / "one.png"
    Image.new("RGB", (96, 96), "teal").save(art)
    run = atelier(home_with_style)
    told = run(
        "train", "More rings", art, "--continue", "Rings",
        "--base", tiny_base, "--steps", "1", "--resolution", "64", "--json",
    )  # fmt: skip
    assert told.code == 0, told.err
    assert told.json["warnings"], "one artwork is few"
    card = run("styles", "show", "More rings", "--json").json
    begun = run("styles", "show", "Rings", "--json").json
    assert card["training"]["continued_from"] == begun["id"] != card["id"]
    assert card["trigger"] == begun["trigger"] and card["rank"] == begun["rank"]
