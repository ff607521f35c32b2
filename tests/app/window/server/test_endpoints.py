"""The named endpoints, as a script on this machine uses them; and who may reach the page."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

import launch
from styles.generation.png_recipe import read_recipe
from tests.app.conftest import Atelier, Served


def names(cards: list[dict[str, Any]]) -> list[str]:
    return [card["name"] for card in cards]


def test_styles_travel_through_the_endpoints(client: Any, tmp_path: Path) -> None:
    ask = client.predict
    assert "Rings" in names(ask(api_name="/styles"))
    assert names(ask(words="rin", api_name="/styles")) == ["Rings"]
    edited = ask(name="Rings", changes={"author": "Ada", "tags": ["round"]}, api_name="/edit_style")
    shown = ask(name="Rings", api_name="/style")
    assert shown["author"] == "Ada" and shown["id"] == edited["id"] and shown["favourite"] is False
    assert ask(name="Rings", api_name="/verify_style")["whole"] is True
    told = ask(name="Rings", folder=str(tmp_path), side_files=True, api_name="/export_style")
    exported = told["style"]
    assert all(Path(path).is_file() for path in told["files"]) and told["id"] == edited["id"]
    assert told["opens_in"]["diffusers"][0] == "yes" and any(one["value"] == "Ada" for one in told["seen"])
    ask(name="Rings", api_name="/delete_style")
    assert "Rings" not in names(ask(api_name="/styles"))
    assert ask(name="Rings", api_name="/restore_style")["name"] == "Rings"
    ask(name="Rings", api_name="/delete_style")
    report = ask(path=exported, api_name="/import_style")
    assert names(report["styles"]) == ["Rings"] and report["refused"] == []


def test_create_takes_explicit_arguments(client: Any) -> None:
    made = client.predict(
        prompt="a house", weights={"Rings": 0.5}, seed=3, count=2, steps=2, api_name="/create"
    )
    assert made["seeds"] == [3, 4]
    recipe = read_recipe(Path(made["pictures"][0]))
    assert recipe.blend.parts[0].weight == 0.5


def test_create_reads_the_styles_that_a_prompt_names(client: Any) -> None:
    made = client.predict(
        prompt="a house <lora:rings:0,4> <lora:gone:1>", seed=3, steps=1, api_name="/create"
    )
    recipe = read_recipe(Path(made["pictures"][0]))
    assert recipe.blend.parts[0].weight == 0.4 and "<" not in recipe.prompt
    assert any("“gone” is not in your library" in notice for notice in made["notices"])


def test_our_errors_come_through_with_their_text(client: Any) -> None:
    from gradio_client.exceptions import AppError

    with pytest.raises(AppError, match="Nobody"):
        client.predict(name="Nobody", folder=str(Path.cwd()), api_name="/export_style")
    with pytest.raises(AppError, match="weight"):
        client.predict(prompt="x", weights={"Rings": 99.0}, api_name="/create")


@pytest.mark.parametrize(
    ("endpoint", "wrong", "says"),
    [
        ("/style", {"name": 5}, "name is 5"),
        ("/styles", {"words": None}, "words is None"),
        ("/create", {"prompt": None}, "prompt is None"),
        ("/create", {"prompt": "a (house:1e9)"}, "weight 1e.09"),
        ("/create", {"prompt": "a house", "negative": "(" * 1000 + "fog"}, "weight 2.46"),
        ("/create", {"prompt": "x", "weights": "abc"}, "weights is 'abc'"),
        ("/create", {"prompt": "x", "image": 3.5}, "image is 3.5"),
        ("/create", {"prompt": "x", "mute": [1]}, "mute is"),
        ("/train", {"name": "A", "pictures": [1]}, "pictures is"),
        ("/export_style", {"name": "Rings", "folder": "/x", "side_files": "abc"}, "side_files is 'abc'"),
        ("/leave_one_out", {"picture": {"prompt": "x", "weights": "abc"}}, "weights is 'abc'"),
        ("/edit_style", {"name": "Rings", "changes": None}, "changes is None"),
        ("/edit_style", {"name": "Rings", "changes": {"trigger": None}}, "trigger is no text"),
        ("/edit_style", {"name": "Rings", "changes": {"suggested_weight": True}}, "no weight"),
    ],
)
def test_a_value_of_another_type_is_refused_by_its_name(
    client: Any, endpoint: str, wrong: dict[str, Any], says: str
) -> None:
    from gradio_client.exceptions import AppError

    with pytest.raises(AppError, match=says):
        client.predict(api_name=endpoint, **wrong)


def test_jobs_are_listed_and_asked(client: Any) -> None:
    job = next(job for job in client.predict(api_name="/jobs") if job["name"] == "Rings")
    assert job["state"] == "finished" and job["step"] == 4


def test_a_training_is_started_paused_and_stopped(client: Any, served: Served, artworks: Path) -> None:
    ask = client.predict
    begun = ask(
        name="Scripted",
        pictures=[str(artworks)],
        steps=3000,
        resolution=64,
        seed=1,
        preset="quick",
        api_name="/train",
    )
    job = begun["id"]

    def until(**wanted: Any) -> dict[str, Any]:
        for _ in range(600):
            found = next(one for one in ask(api_name="/jobs") if one["id"] == job)
            if all(found[name] == value for name, value in wanted.items()) and found["step"]:
                return found
            time.sleep(0.2)
        raise AssertionError(found)

    until(state="running")
    ask(job=job, request="pause", api_name="/job_request")
    paused = until(state="paused")
    ask(job=job, request="resume", api_name="/job_request")
    until(state="running")
    ask(job=job, request="stop", api_name="/job_request")
    assert paused["step"] <= until(state="finished")["step"] < 3000
    assert "Scripted" in names(ask(api_name="/styles"))
    with pytest.raises(Exception, match="no request"):
        ask(job=job, request="explode", api_name="/job_request")


def test_only_this_machine_by_its_own_name_gets_an_answer(served: Served) -> None:
    def status(path: str = "/", **headers: str) -> int:
        connection = http.client.HTTPConnection(urlsplit(served.url).netloc, timeout=300)
        try:
            connection.request("GET", path, headers=headers)
            return connection.getresponse().status
        finally:
            connection.close()

    assert status() == 403, "not without the key"
    assert status(**served.headers) == 200
    assert status(Host="evil.example") == 400
    style = served.home / "styles" / "Rings.safetensors"
    assert status(f"/gradio_api/file={style}", **served.headers) == 403, (
        "only pictures are served from the home"
    )


def test_a_second_window_over_the_same_home_is_refused(
    served: Served, atelier: Callable[[Path], Atelier]
) -> None:
    told = atelier(served.home)("--no-browser", "--json")
    assert told.code == 1
    assert "open already" in told.json["error"]["message"]
    running = json.loads((served.home / "running.json").read_text(encoding="utf-8"))
    assert running["port"] == urlsplit(served.url).port and running["pid"] > 0
    assert launch.running_page(served.home) == served.url


def test_a_port_in_use_is_refused_when_it_was_asked_for(
    tmp_path: Path, atelier: Callable[[Path], Atelier], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", "")  # put back at the end: the window sets its own
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        told = atelier(tmp_path / "home")("--no-browser", "--port", str(port), "--json")
    assert told.code == 2
    assert str(port) in told.json["error"]["message"]
    assert not (tmp_path / "home" / "running.json").exists()
