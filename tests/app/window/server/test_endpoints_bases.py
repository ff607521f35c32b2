"""The named endpoints around bases, as a script on this machine uses them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from styles.bases.base import open_base
from styles.bases.shelf import BaseShelf
from styles.library.library import Library
from styles.storage.home import Home
from tests.app.conftest import Served
from tests.styles.mixing.test_group_merge import grouped_styles


@pytest.fixture(scope="module")
def ask(client: Any, served: Served, tiny_base: Path) -> Iterator[Any]:
    """The window with a style that merges, and its list of bases as it was afterwards."""
    home = Home(served.home)
    shelf = BaseShelf(home)
    used, here = shelf.in_use, {entry.name for entry in shelf.list()}
    (style,) = grouped_styles(open_base(tiny_base, home, device="cpu", quantize="qa4-16"), 16, 1)
    kept = Library(home).add(replace(style, card=replace(style.card, name="Wash", licence="CC-BY-ND-4.0")))
    yield client.predict
    for entry in shelf.list():
        if entry.name not in here:
            shelf.remove(entry.name)
    shelf.use(used)
    Library(home).delete(kept.id)


def test_bases_are_listed_added_changed_and_used(ask: Any, tiny_base: Path) -> None:
    from gradio_client.exceptions import AppError

    added = ask(source=str(tiny_base), name="Heron", api_name="/bases_add")
    assert (added["name"], added["state"], added["quantize"]) == ("Heron", "here", "none")
    changed = ask(name="Heron", vae=str(tiny_base), api_name="/bases_change")
    kept = ask(name="Heron", quantize="qa4-32", api_name="/bases_change")
    assert changed["vae"] == kept["vae"] == str(tiny_base), "how it is kept, and nothing else"
    assert kept["quantize"] == "qa4-32"
    assert ask(name="Heron", api_name="/bases_change")["vae"] == "", "settled anew"
    used = ask(name="Heron", quantize="none", api_name="/bases_use")
    assert used["in_use"] and used["quantize"] == "none"
    listed = {one["name"]: one for one in ask(api_name="/bases_list")}
    assert listed["Heron"]["in_use"] and any(one["state"] == "to fetch" for one in listed.values())
    for endpoint, about, says in (
        ("/bases_use", {"name": "Nobody"}, "no base"),
        ("/bases_use", {"name": "Heron", "quantize": "int8"}, "int8"),
        ("/bases_use", {"name": 5}, "name is 5"),
        ("/bases_add", {"source": str(tiny_base / "vae")}, "."),
        ("/bases_change", {"name": "Heron", "vae": "vae"}, "no whole path"),
        ("/bases_change", {"name": "Heron", "zero_terminal_snr": "perhaps"}, "zero_terminal_snr"),
    ):  # fmt: skip
        with pytest.raises(AppError, match=says):
            ask(**about, api_name=endpoint)
    assert ask(name="Heron", api_name="/bases_remove") == "Heron"
    assert "Heron" not in {one["name"] for one in ask(api_name="/bases_list")} and tiny_base.is_dir()


def test_a_style_is_merged_into_a_base(ask: Any) -> None:
    from gradio_client.exceptions import AppError

    about = {"base": "tiny", "weights": {"Wash": 0.5}, "name": "Washed"}
    with pytest.raises(AppError, match="agreed=True"):
        ask(**about, api_name="/bases_merge")
    done = ask(**about, agreed=True, api_name="/bases_merge")
    assert done["merged"] and done["quantize"] == "qa4-16" and "Wash at 0.5" in done["notes"][0]
    for wrong, says in (
        ({}, "already a base"),
        ({"weights": {}}, "no style to merge"),
        ({"weights": {"Wash": 0}, "name": "New"}, "at weight 0"),
        ({"weights": {"Nobody": 1}, "name": "New"}, "Nobody"),
        ({"weights": {"Wash": "lots"}, "name": "New"}, "lots"),
    ):
        with pytest.raises(AppError, match=says):
            ask(**about | wrong, agreed=True, api_name="/bases_merge")
    assert ask(name="Washed", api_name="/bases_remove") == "Washed"
