"""A home, its settings and its key are for this user alone."""

from __future__ import annotations

import os
import stat
import webbrowser
from pathlib import Path

import pytest

from app import key
from app.home_rights import make_private
from app.key import home_key, open_page
from app.password import hashed
from app.settings import Settings
from app.studio import Studio
from styles.storage.atomic import write_private
from styles.storage.home import Home
from tests.fuzzing import home_files

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has the rights of the user's profile")


def rights(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_home_and_what_is_secret_in_it_is_private(tmp_path: Path) -> None:
    before = os.umask(0)  # as open as can be
    try:
        home = Home(tmp_path / "folders" / "home").create()
        Settings(shared=True, password=hashed("paint & water")).save(home)
        home_key(home)
    finally:
        os.umask(before)
    assert {rights(path) for path in (home.root, *home.root.iterdir()) if path.is_dir()} == {0o700}
    assert rights(Settings.path(home)) == rights(home.root / "key.txt") == 0o600
    assert rights(home.root.parent) != 0o700, "what lies above is not ours"


def test_a_private_file_can_never_be_read_by_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    replace = os.replace

    def watched(source: Path, target: Path) -> None:
        seen.append(rights(source))
        replace(source, target)

    monkeypatch.setattr(os, "replace", watched)
    (tmp_path / "settings.json").write_text("before")
    (tmp_path / "settings.json").chmod(0o666)
    write_private(tmp_path / "settings.json", "after")
    assert seen == [0o600] and rights(tmp_path / "settings.json") == 0o600


def test_a_home_from_before_is_mended(tmp_path: Path) -> None:
    home = Home(tmp_path / "home").create()
    home_key(home)
    (home.root / ".DS_Store").touch()
    (home.root / "settings damaged 20261130.json").touch()
    home.root.chmod(0o755)
    for name in ("key.txt", "settings.json"):
        (home.root / name).touch()
        (home.root / name).chmod(0o644)
    (home.root / "settings.json").write_text("{}")
    studio = Studio(home)
    studio.close()
    assert rights(home.root) == 0o700
    assert rights(home.root / "key.txt") == rights(home.root / "settings.json") == 0o600


def test_all_that_is_kept_in_a_home_is_known_as_ours(tmp_path: Path) -> None:
    home = Home(home_files.prepare(tmp_path))
    home.root.chmod(0o755)
    make_private(home)
    assert rights(home.root) == 0o700, sorted(path.name for path in home.root.iterdir())


@pytest.mark.parametrize(("mode", "other"), [(0o755, True), (0o1777, False), (0o2775, False)])
def test_a_folder_that_people_share_stays_so(tmp_path: Path, mode: int, other: bool) -> None:
    home = Home(tmp_path)
    if other:
        (tmp_path / "accounts.txt").touch()
    tmp_path.chmod(mode)
    home_key(home.create())
    (tmp_path / "key.txt").chmod(0o644)
    make_private(home)
    assert rights(tmp_path) == mode
    assert rights(tmp_path / "key.txt") == 0o600 and rights(home.pictures) & 0o777 == 0o700


def test_a_file_system_without_rights_keeps_nothing_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(self: Path, mode: int) -> None:
        raise PermissionError("not here")

    monkeypatch.setattr(Path, "chmod", refused)
    home = Home(tmp_path / "home").create()
    os.chmod(home.root, 0o777)
    make_private(home)
    assert home_key(home) == home_key(home)


def test_a_home_that_can_not_be_written_to_has_a_key_for_one_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "home").write_text("a file")
    first = home_key(Home(tmp_path / "home"))
    assert key.FORM.fullmatch(first) and first != home_key(Home(tmp_path / "home"))
    assert "can't be kept" in capsys.readouterr().err


def test_the_browser_is_started_without_the_key_where_commands_are_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    home = Home(tmp_path / "Atelier").create()
    url = key.address(7860, home_key(home))
    for seen, place in ((True, home), (False, home), (True, Home(tmp_path / ".hidden").create())):
        monkeypatch.setattr(key, "commands_are_seen", lambda seen=seen: seen)
        open_page(place, url)
    file = home.root / "open.html"
    assert opened == [file.as_uri(), url, url]
    assert rights(file) == 0o600 and url in file.read_text(encoding="utf-8")
