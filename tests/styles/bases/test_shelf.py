"""The shelf of bases, and fetching from a Hub (a small one of our own on this machine)."""

import json
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from safetensors.torch import load_file, save_file

from styles.bases.base import open_base
from styles.bases.base_settings import UNSET, BaseSettings
from styles.bases.hub import CLIP_FILES, CLIP_ID, clip_tokenizer_folder, fetch_base, is_hub_id, wanted_files
from styles.bases.recommended import RECOMMENDED
from styles.bases.shelf import STARTER, BaseShelf, find_source
from styles.errors import BaseError, Failure, OfflineError, SettingsError
from styles.storage.home import Home
from tests.tiny import tiny_base_folder


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home").create()


def test_a_new_shelf_offers_the_starter_and_what_is_worth_fetching(home: Home) -> None:
    entries = BaseShelf(home).list()
    assert entries[0].name == "starter" and entries[0].in_use
    offered = [entry for entry in entries if not entry.installed and entry.name != "starter"]
    assert [entry.name for entry in offered] == [base.hub_id for base in RECOMMENDED]
    assert offered[0].name == "stable-diffusion-v1-5/stable-diffusion-v1-5"
    assert all(entry.size_gb > 1 and entry.licence for entry in offered)


def test_add_use_and_remove(home: Home, tiny_sd1: Path) -> None:
    shelf = BaseShelf(home)
    entry = shelf.add(tiny_sd1, name="mine")
    assert (entry.family, entry.prediction_type, entry.native_size_px, entry.installed) == (
        "sd1",
        "epsilon",
        64,
        True,
    )
    shelf.use("mine")
    assert BaseShelf(home).in_use == "mine"
    assert shelf.resolve("mine") == (tiny_sd1, UNSET)
    assert open_base("mine", home, device="cpu").name == "mine"
    with pytest.raises(BaseError, match="already a base"):
        shelf.add(tiny_base_folder(home.root / "other", "sd1", seed=1), name="mine")
    shelf.remove("mine")
    assert shelf.in_use == "starter" and tiny_sd1.is_dir()  # it lies elsewhere: only forgotten
    with pytest.raises(BaseError, match=r"no base “mine”.*Here are: starter"):
        shelf.use("mine")
    with pytest.raises(BaseError, match="can't be removed"):
        shelf.remove("starter")


def test_folders_put_there_by_hand_count_and_go_to_the_trash(home: Home) -> None:
    tiny_base_folder(home.bases / "by hand", "sd1")
    shelf = BaseShelf(home)
    assert [entry.name for entry in shelf.list() if entry.installed and entry.name != "starter"] == [
        "by hand"
    ]
    shelf.remove("by hand")
    assert (home.trash / "by hand" / "model_index.json").is_file()


def test_a_folders_name_is_kept_whole(home: Home, tmp_path: Path) -> None:
    tiny_base_folder(home.bases / "sd-2.1", "sd1")
    shelf = BaseShelf(home)
    assert shelf.resolve("sd-2.1") == (home.bases / "sd-2.1", UNSET)
    assert shelf.add(tiny_base_folder(tmp_path / "v1.5", "sd1", seed=1)).name == "v1.5"
    assert open_base(home.bases / "sd-2.1", home, device="cpu").name == "sd-2.1"
    shelf.remove("sd-2.1")
    assert (home.trash / "sd-2.1").is_dir()


def test_how_a_base_is_kept_stays_with_it_and_is_no_change_of_it(home: Home, tiny_sd1: Path) -> None:
    shelf = BaseShelf(home)
    shelf.add(tiny_sd1, name="mine", settings=BaseSettings(vae=tiny_sd1))
    for name in ("starter", "mine"):
        assert shelf.keep_as(name, "qa4-32").quantize == "qa4-32"
    assert shelf.change("mine", UNSET).quantize == "qa4-32"
    assert shelf.add(tiny_sd1, name="mine").quantize == "qa4-32"
    kept = {entry.name: entry.quantize for entry in BaseShelf(home).list() if entry.installed}
    assert kept == {"starter": "qa4-32", "mine": "qa4-32"}
    for source in ("starter", STARTER, "mine", tiny_sd1):
        assert find_source(source, home)[1].quantize == "qa4-32"
    assert open_base("mine", home, device="cpu").quantize == "qa4-32"
    assert open_base("mine", home, device="cpu", quantize="none").quantize == "none"
    shelf.keep_as("starter", "none")
    assert shelf.resolve("starter")[1] == UNSET
    with pytest.raises(SettingsError, match="can't be kept as"):
        shelf.keep_as("mine", "int8")


def test_nf4_is_refused_where_it_is_not_installed(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(SettingsError, match="setup --nf4"):
        BaseShelf(home).keep_as("starter", "nf4")
    assert BaseShelf(home).list()[0].quantize == "none"


def test_a_shelf_that_another_holds_is_said(home: Home, tiny_sd1: Path) -> None:
    with FileLock(home.bases / ".shelf.lock"), pytest.raises(Failure, match="Another Atelier"):
        BaseShelf(home, lock_seconds=0.05).add(tiny_sd1)


def test_what_is_no_base_is_refused_when_added(home: Home, tmp_path: Path) -> None:
    shelf = BaseShelf(home)
    (tmp_path / "model.ckpt").write_bytes(b"\x80")
    for source, said in (
        (tmp_path / "model.ckpt", "run any code"),
        ("nowhere.ckpt", "run any code"),
        ("no way", "nor a Hub id"),
        ("", "nor a Hub id"),
    ):
        with pytest.raises(BaseError, match=said):
            shelf.add(source)
    with pytest.raises(OfflineError, match="can't be reached"):
        shelf.add("owner/name")
    # Only adding fetches: a mistyped path that looks like an id must not start a download of gigabytes.
    with pytest.raises(BaseError, match="is not here yet"):
        find_source("owner/name", home)
    with pytest.raises(BaseError, match="bases add owner/name"):
        open_base("owner/name", home, device="cpu")


def test_a_base_that_vanished_is_listed_with_the_reason(home: Home, tmp_path: Path) -> None:
    folder = tiny_base_folder(tmp_path / "gone", "sd1")
    shelf = BaseShelf(home)
    shelf.add(folder)
    (folder / "model_index.json").unlink()
    entry = next(entry for entry in shelf.list() if entry.name == "gone")
    assert "model_index.json" in entry.problem
    with pytest.raises(BaseError, match="can't be used"):
        shelf.use("gone")


def test_a_new_base_takes_no_name_by_which_another_is_found(home: Home, tiny_sd1: Path) -> None:
    shelf = BaseShelf(home)
    shelf.add(tiny_sd1, name="someone/mine")
    for name in ("someone/mine", "Mine", "starter"):
        with pytest.raises(BaseError, match="already a base"):
            shelf.check_free(name)
    shelf.check_free("yours")


def test_a_base_of_the_hub_is_found_by_the_end_of_its_name(home: Home, tiny_sd1: Path) -> None:
    shelf = BaseShelf(home)
    shelf.add(tiny_sd1, name="owner/tiny-one")
    assert shelf.use("tiny-one").name == shelf.in_use == "owner/tiny-one"
    assert shelf.resolve("tiny-one")[0] == tiny_sd1.resolve()
    (home.bases / "shelf.json").write_text(
        (home.bases / "shelf.json")
        .read_text()
        .replace('"bases": {', '"bases": {"other/tiny-one": {"source": "x"},', 1)
    )
    with pytest.raises(BaseError, match="no base “tiny-one”"):
        shelf.use("tiny-one")
    shelf.remove("owner/tiny-one")


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "3",
        '{"in_use": 3, "bases": {}}',
        "[" * 100_000,
        '{"in_use": "x", "bases": {"x": {"source": 3}}}',
    ],
)
def test_a_damaged_shelf_file_is_said_and_set_aside_by_the_next_change(
    home: Home, tiny_base: Path, text: str
) -> None:
    (home.bases / "shelf.json").write_text(text)
    shelf = BaseShelf(home)
    assert shelf.list()[0].name == "starter"
    assert shelf.problem is not None and "is damaged" in shelf.problem.message and shelf.problem.hint
    shelf.add(tiny_base)
    assert shelf.problem is None
    (aside,) = home.bases.glob("shelf damaged *.json")
    assert aside.read_text() == text


@pytest.mark.parametrize("kept", ['"int8"', "3", "[]"])
def test_rubbish_in_how_the_starter_is_kept_loses_no_base(home: Home, tiny_base: Path, kept: str) -> None:
    shelf = BaseShelf(home)
    shelf.add(tiny_base, name="mine")
    file = home.bases / "shelf.json"
    file.write_text(file.read_text().replace('"starter": "none"', f'"starter": {kept}'))
    assert shelf.problem is not None and "how the starter is kept is not known" in shelf.problem.message
    assert "not all of your bases" not in shelf.problem.message
    assert shelf.resolve("mine") and shelf.resolve("starter")[1] == UNSET
    shelf.keep_as("starter", "qa4-32")
    assert shelf.problem is None and shelf.resolve("mine")


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("unet", {"cross_attention_dim": [256]}),
        ("unet", {"cross_attention_dim": True}),
        ("unet", {"sample_size": "large"}),
        ("unet", {"sample_size": [1.5]}),
        ("unet", {"sample_size": 10**400}),
        ("unet", {"in_channels": {}}),
        ("vae", {"block_out_channels": 3}),
        ("vae", {"block_out_channels": [1] * 10_000}),
        ("scheduler", {"num_train_timesteps": None}),
        ("scheduler", {"num_train_timesteps": 10**12}),
        ("scheduler", {"beta_start": "small"}),
        ("scheduler", {"beta_schedule": ["linear"]}),
        ("scheduler", {"trained_betas": 3}),
        ("scheduler", {"prediction_type": ["epsilon"]}),
    ],
)
def test_a_malformed_config_is_a_problem_of_that_base_alone(
    home: Home, tiny_base: Path, part: str, change: dict
) -> None:
    shutil.copytree(tiny_base, home.bases / "odd", copy_function=os.link)
    file = next((home.bases / "odd" / part).glob("*config.json"))
    config = json.loads(file.read_text(encoding="utf-8")) | change
    file.unlink()
    file.write_text(json.dumps(config), encoding="utf-8")
    listed = {entry.name: entry for entry in BaseShelf(home).list()}
    assert listed["odd"].problem and not listed["starter"].problem


def test_hub_ids_are_told_from_paths_and_tricks() -> None:
    assert all(is_hub_id(base.hub_id) for base in RECOMMENDED)
    assert not any(
        is_hub_id(text) for text in ("a", "a/b/c", "../b", "a/..", "/a", "a b/c", "a/", "C:/x/y", "a--b/c")
    )


def test_only_safe_files_and_one_precision_are_fetched() -> None:
    names = [
        "model_index.json", "README.md", "evil.py", "v1-5.ckpt", "v1-5.safetensors",
        "unet/config.json", "unet/diffusion_pytorch_model.bin", "unet/diffusion_pytorch_model.safetensors",
        "unet/diffusion_pytorch_model.fp16.safetensors", "unet/diffusion_pytorch_model.non_ema.safetensors",
        "vae/config.json", "vae/diffusion_pytorch_model.safetensors", "vae/../../x.json",
        "tokenizer/vocab.json", "tokenizer/merges.txt", "scheduler/scheduler_config.json",
    ]  # fmt: skip
    assert sorted(wanted_files(names)) == [
        "model_index.json", "scheduler/scheduler_config.json", "tokenizer/merges.txt", "tokenizer/vocab.json",
        "unet/config.json", "unet/diffusion_pytorch_model.fp16.safetensors",
        "vae/config.json", "vae/diffusion_pytorch_model.safetensors",
    ]  # fmt: skip


def test_both_text_encoders_and_parts_in_several_files_are_fetched_with_their_index() -> None:
    unet = "unet/diffusion_pytorch_model"
    shards = [f"{unet}{kind}-0000{one}-of-00002.safetensors" for kind in ("", ".fp16") for one in (1, 2)]
    half = [f"{unet}.safetensors.index.fp16.json", *shards[2:]]
    other = [
        "text_encoder_2/config.json", "text_encoder_2/model.fp16.safetensors", "tokenizer_2/vocab.json",
        "tokenizer_2/tokenizer_config.json",
    ]  # fmt: skip
    whole = [f"{unet}.safetensors.index.json", *shards[:2]]
    names = [*whole, *half, *other, "text_encoder_2/model.safetensors", "vae_1_0/config.json"]
    assert sorted(wanted_files(names)) == sorted(half + other)
    assert sorted(wanted_files([*whole, "text_encoder_2/model.safetensors"])) == sorted(
        [*whole, "text_encoder_2/model.safetensors"]
    )


@pytest.fixture(scope="session")
def sharded_sdxl(tiny_sdxl: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SDXL as the Hub has them: in full and in half precision, here with the UNet in several files."""
    from diffusers import UNet2DConditionModel

    folder = shutil.copytree(tiny_sdxl, tmp_path_factory.mktemp("sharded") / "xl")
    for part in ("vae", "text_encoder", "text_encoder_2"):
        for file in list((folder / part).glob("*.safetensors")):
            half = {name: value.half() for name, value in load_file(file).items()}
            save_file(half, file.with_suffix(".fp16.safetensors"), {"format": "pt"})
    unet = UNet2DConditionModel.from_pretrained(tiny_sdxl / "unet", torch_dtype=torch.float16)
    unet.save_pretrained(folder / "unet", variant="fp16", max_shard_size="400KB")
    assert len(list((folder / "unet").glob("*.fp16-*.safetensors"))) > 1
    return folder


@pytest.fixture
def small_hub(tiny_sd1: Path, sharded_sdxl: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A Hub with `owner/tiny` and `owner/xl`, that speaks as much of the protocol as a download needs."""
    bases = {
        f"owner/{name}": {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
        for name, folder in (("tiny", tiny_sd1), ("xl", sharded_sdxl))
    }
    commit = "0" * 40

    class Answer(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            return

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, body: bool) -> None:
            name = next((name for name in bases if name in self.path), "")
            if name and self.path.startswith(f"/api/models/{name}"):
                files = bases[name].items()
                siblings = [{"rfilename": file, "size": path.stat().st_size} for file, path in files]
                data = json.dumps({"id": name, "sha": commit, "siblings": siblings}).encode()
            elif name and self.path.startswith(f"/{name}/resolve/{commit}/"):
                data = bases[name][self.path.removeprefix(f"/{name}/resolve/{commit}/")].read_bytes()
            elif self.path.startswith(f"/{CLIP_ID}/resolve/main/"):
                data = b"{}"
            else:
                self.send_response(404)
                self.send_header("X-Error-Code", "RepoNotFound")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("ETag", f'"{abs(hash(self.path))}"')
            self.send_header("X-Repo-Commit", commit)
            self.end_headers()
            if body:
                self.wfile.write(data)

    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_base_is_fetched_with_progress_and_opens(small_hub: str, home: Home) -> None:
    told: list[tuple[str, float]] = []
    folder = fetch_base(
        "owner/tiny", home, lambda text, share: told.append((text, share)), endpoint=small_hub
    )
    assert folder == home.bases / "owner--tiny"
    shares = [share for _, share in told]
    assert shares == sorted(shares) and shares[-1] == 1.0
    assert open_base("owner/tiny", home, device="cpu").family == "sd1"
    with pytest.raises(BaseError, match="no base owner/other on the Hub"):
        fetch_base("owner/other", home, endpoint=small_hub)


def test_an_sdxl_is_fetched_in_half_precision_and_opens_from_several_files(
    small_hub: str, sharded_sdxl: Path, home: Home
) -> None:
    folder = fetch_base("owner/xl", home, endpoint=small_hub)
    weights = [file.name for file in folder.rglob("*.safetensors")]
    assert len(weights) > 4 and all(".fp16" in name for name in weights)
    base, whole = (open_base(one, home, device="cpu") for one in ("owner/xl", sharded_sdxl))
    assert len(base.text_encoders) == len(base.tokenizers) == 2
    assert base.fingerprint == whole.fingerprint
    for one, other in ((base.unet, whole.unet), (base.text_encoders[1], whole.text_encoders[1])):
        weights_of_it = one.state_dict()
        for name, value in other.state_dict().items():
            assert torch.equal(weights_of_it[name], value.half().float()), name


def test_a_hub_that_can_not_be_reached_is_said(small_hub: str, home: Home) -> None:
    with pytest.raises(OfflineError, match="can't be reached"):
        fetch_base("owner/tiny", home, endpoint="http://127.0.0.1:9")


def test_the_vocabulary_is_fetched_once(small_hub: str, home: Home) -> None:
    folder = clip_tokenizer_folder(home, endpoint=small_hub)
    assert sorted(path.name for path in folder.glob("[a-z]*")) == sorted(CLIP_FILES)
    assert clip_tokenizer_folder(home, endpoint="http://127.0.0.1:9") == folder


def test_the_vocabulary_offline_says_what_to_do(home: Home) -> None:
    with pytest.raises(OfflineError, match="Connect to the network once"):
        clip_tokenizer_folder(home)
