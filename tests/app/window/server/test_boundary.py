"""Nobody else's page gets in: every route of the web server against other pages, users and devices; and our own."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from PIL import Image

from app.key import REDIRECT, home_key
from app.password import hashed
from app.settings import Settings
from app.window.server.access import cookie_name
from app.window.server.middleware import own_names
from app.window.server.named_paths import whole_path
from styles.bases.shelf import BaseShelf
from styles.errors import BadInput
from styles.storage.home import Home
from tests.app.browsing import PATIENCE_MS
from tests.app.conftest import window_over
from tests.app.window.server.strangers import (
    API,
    PASSWORD,
    Shared,
    device,
    every_route,
    heard,
    let_in,
    refused_on,
    run,
    strangers,
    upload,
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    """One window for all tests here, over a home of its own."""
    home = tmp_path_factory.mktemp("shared") / "home"
    Settings(shared=True, password=hashed(PASSWORD), tour_seen=True).save(Home(home).create())
    with window_over(home) as url:
        yield Shared(url, home)


def test_no_route_answers_a_stranger(shared: Shared) -> None:
    routes = run(every_route())
    assert len(routes) > 80, "gradio keeps its routes elsewhere now"

    all_of_them = strangers(shared)
    cases = [(route, who) for route in routes for who in all_of_them[:4] + all_of_them[-1:]]
    for route in (("GET", "/config"), ("POST", f"{API}/upload"), ("OPTIONS", f"{API}/queue/join")):
        cases += [(route, who) for who in all_of_them]
    for route in routes:
        cases += [(route, who) for who in refused_on(shared, route)]
    found = let_in(shared, cases)
    assert not found, f"{len(found)} of {len(cases)} got in:\n" + "\n".join(found[:40])


def test_no_websocket_is_opened(shared: Shared) -> None:
    with socket.create_connection(("127.0.0.1", shared.port), timeout=300) as wire:
        lines = [
            f"GET {API}/queue/join HTTP/1.1", f"Host: 127.0.0.1:{shared.port}", "Upgrade: websocket", "Connection: Upgrade",
            "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==", f"Cookie: {shared.cookie['Cookie']}",
        ]  # fmt: skip
        wire.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        assert b" 101 " not in wire.recv(200)


def test_our_own_page_and_scripts_are_answered(shared: Shared) -> None:
    names = ["127.0.0.1", "localhost", *own_names()]
    for name in names:
        host = f"{name}:{shared.port}"
        page = {"Host": host, "Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"} | shared.cookie
        assert shared.status("/config", page) == 200, name
    assert shared.status("/", {"Sec-Fetch-Site": "none"} | shared.cookie) == 200, "a bookmark"
    assert shared.status("/config", shared.headers) == 200, "a script"
    assert shared.status("/config", device(4, PASSWORD)) == 200, "a device"
    assert shared.status("/manifest.json") == 200, "browsers fetch it without cookies"
    assert shared.status(f"{API}/app_id", shared.cookie) == 200, (
        "a page looks whether the window is there again"
    )


def test_the_address_with_the_key_leaves_a_strict_cookie(shared: Shared) -> None:
    answer = shared.ask("GET", f"/?key={shared.key}", {"Sec-Fetch-Site": "none"})
    assert (answer.status, answer.headers["location"]) == (303, "/")
    (cookie,) = SimpleCookie(answer.headers["set-cookie"]).values()
    assert cookie.value == shared.key and cookie["httponly"] and cookie["samesite"] == "Strict"
    assert int(cookie["max-age"]) > 86400 * 300 and cookie["path"] == "/"
    # By a file of ours, or a terminal.
    led = shared.ask("GET", f"/?key={shared.key}", {"Sec-Fetch-Site": "cross-site"})
    assert led.status == 200 and b'http-equiv="refresh"' in led.body and "set-cookie" in led.headers
    other = "B" if shared.key.endswith("A") else "A"
    refused = shared.ask("GET", f"/?key={shared.key[:-1]}{other}")
    assert refused.status == 403 and b"launch.py" in refused.body and "set-cookie" not in refused.headers
    assert shared.ask("GET", "/?key=").status == 403
    assert shared.ask("GET", f"/?key={shared.key}", device(5)).status == 401, "only on this computer"


def test_the_key_is_of_one_home_and_for_one_user(shared: Shared, tmp_path: Path) -> None:
    home = Home(tmp_path / "other").create()
    key = home_key(home)
    assert key == home_key(home) and key != shared.key and cookie_name(key) != cookie_name(shared.key)
    if os.name != "nt":
        for file in (shared.home / "key.txt", shared.home / "settings.json", shared.home / "running.json"):
            assert file.stat().st_mode & 0o777 == 0o600, file
    (tmp_path / "other" / "key.txt").write_text("guessable")
    assert home_key(home) not in (key, "guessable")
    (tmp_path / "other" / "key.txt").unlink()
    (tmp_path / "other" / "key.txt").symlink_to(shared.home / "key.txt")
    assert home_key(home) != shared.key, "another's file"


def test_what_lies_among_the_pictures_is_no_page_of_ours(shared: Shared) -> None:
    pictures = shared.home / "pictures"
    Image.new("RGB", (8, 8)).save(pictures / "real.png")
    for name in ("page.html", "drawing.svg", "page.xhtml", "text.txt", "page.html.png.htm"):
        (pictures / name).write_text(
            "<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"
        )
        answer = shared.ask("GET", f"{API}/file={quote(str(pictures / name))}", shared.cookie)
        assert answer.status == 200 and answer.headers["content-type"] == "application/octet-stream", name
        assert answer.headers["content-disposition"].startswith("attachment") and "sandbox" in str(
            answer.headers
        ), name
    part = shared.ask(
        "GET", f"{API}/file={quote(str(pictures / 'page.html'))}", shared.cookie | {"Range": "bytes=0-5"}
    )
    assert "attachment" in part.headers["content-disposition"] and "cookie" not in part.headers
    shown = shared.ask("GET", f"{API}/file={quote(str(pictures / 'real.png'))}", shared.cookie)
    assert (
        shown.headers["content-type"] == "image/png"
        and "attachment" not in shown.headers["content-disposition"]
    )


def test_the_window_fetches_nothing_for_anybody(shared: Shared, tmp_path: Path) -> None:
    for address in (
        "https://example.com/a.png",
        "http://127.0.0.1:1/",
        "//example.com/a",
        "HTTPS://example.com/a",
        "\\\\host\\a",
    ):
        assert shared.status(f"{API}/file={quote(address)}", shared.cookie) == 404
        assert shared.status(f"{API}/file={address}", shared.cookie) in (400, 404)
        assert shared.status(f"{API}/proxy={address}", shared.cookie) in (400, 404)
    config = json.loads(shared.ask("GET", "/config", shared.headers).body)
    (image,) = [one["id"] for one in config["components"] if one["type"] == "image"]
    asking = next(
        one
        for one in config["dependencies"]
        if image in one["inputs"] and not one["queue"] and one["backend_fn"]
    )
    file = {
        "path": "https://example.com/a.png",
        "url": "https://example.com/a.png",
        "meta": {"_type": "gradio.FileData"},
    }
    data = [file if one == image else None for one in asking["inputs"]]
    about = {"data": data, "fn_index": asking["id"], "session_hash": "fetching"}
    answer = shared.post("run/predict", shared.headers, about)
    assert answer.status == 500 and b"fetches no file from the web" in answer.body, answer.body


def test_other_devices_name_only_what_they_sent(shared: Shared, tmp_path: Path) -> None:
    from gradio_client import Client
    from gradio_client.exceptions import AppError

    Image.new("RGB", (64, 64)).save(tmp_path / "private.png")
    private, folder = str(tmp_path / "private.png"), str(tmp_path)
    script = Client(shared.site, headers=shared.headers, verbose=False)
    other = Client(shared.site, headers=device(6, PASSWORD), verbose=False)
    picture = {"prompt": "a house", "image": private}
    script.predict(name="Dusk", weights={"cyanotype": 0.5}, api_name="/blends_save")
    refused: list[tuple[str, str, dict[str, Any]]] = [
        ("/create", "was not uploaded", picture),
        ("/strip", "was not uploaded", {"style": "cyanotype", "picture": picture}),
        ("/blend_map", "was not uploaded", {"styles": ["cyanotype", "ochre dabs"], "picture": picture}),
        ("/leave_one_out", "was not uploaded", {"picture": picture | {"weights": {"cyanotype": 1.0}}}),
        ("/train", "was not uploaded", {"name": "Taken", "pictures": [folder]}),
        ("/import_style", "was not uploaded", {"path": folder}),
        ("/blends_import", "was not uploaded", {"file": private}),
        ("/export_style", "Another device", {"name": "cyanotype", "folder": folder}),
        ("/blends_export", "Another device", {"name": "Dusk", "folder": folder}),
        ("/create", "list of bases", {"prompt": "a house", "base": folder}),
        ("/train", "list of bases", {"name": "Taken", "pictures": [], "base": folder}),
        ("/strength", "list of bases", {"weights": {"cyanotype": 1.0}, "base": folder}),
        ("/bake", "list of bases", {"name": "Both", "weights": {"cyanotype": 1.0}, "base": folder}),
        ("/blends_save", "list of bases", {"name": "B", "weights": {"cyanotype": 1.0}, "base": folder}),
        ("/bases_add", "list of bases", {"source": folder}),
        ("/bases_add", "this computer", {"source": "owner/name", "vae": folder}),
        ("/bases_change", "this computer", {"name": "starter", "vae": folder}),
        ("/bases_change", "can't change a base", {"name": "starter"}),
        ("/bases_change", "can't change a base", {"name": "starter", "prediction_type": "epsilon", "quantize": "none"}),
        ("/bases_use", "no base", {"name": folder}),
        ("/bases_remove", "no base", {"name": folder}),
        ("/bases_merge", "list of bases", {"base": folder, "weights": {"cyanotype": 1.0}, "name": "New"}),
    ]  # fmt: skip
    jobs = [(words, other.submit(**about, api_name=name)) for name, words, about in refused]
    for words, job in jobs:
        with pytest.raises(AppError, match=words):
            job.result()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["private.png"]
    assert not list((shared.home / "jobs").iterdir())
    sent = upload(shared, device(6, PASSWORD), "sent.safetensors")
    assert other.predict(path=str(sent), api_name="/import_style")["refused"], "its own is looked at"
    vague: list[tuple[str, dict[str, Any]]] = [
        ("/export_style", {"name": "cyanotype", "folder": ""}),
        ("/blends_export", {"name": "Dusk", "folder": "../files"}),
        ("/import_style", {"path": " "}),
        ("/import_style", {"path": "~nobody of this name/Ink.safetensors"}),
        ("/export_style", {"name": "cyanotype", "folder": "/tmp/a\0b"}),
        ("/train", {"name": "Taken", "pictures": ["."]}),
    ]
    for job in [script.submit(**about, api_name=name) for name, about in vague]:
        with pytest.raises(AppError, match="no whole path"):
            job.result()
    told = script.predict(name="cyanotype", folder=str(tmp_path / "out"), api_name="/export_style")
    assert Path(told["style"]).parent == tmp_path / "out"
    script.close()
    other.close()


def test_half_a_character_is_in_no_path() -> None:
    with pytest.raises(BadInput, match="no whole path"):
        whole_path("/tmp/\ud83d")


def test_the_page_of_another_device_names_no_base_by_its_place(
    shared: Shared, tiny_base: Path, tmp_path: Path
) -> None:
    tablet = device(7, PASSWORD)
    config = json.loads(shared.ask("GET", "/config", tablet).body)

    def component(**props: str) -> Any:
        return next(one["id"] for one in config["components"] if props.items() <= one["props"].items())

    mix = component(elem_id="create-mix")
    about = {"mix": {}, "base": str(tmp_path), "words": "", "without": []}
    for question in ("advise", "measure", "styles"):
        body = {"data": about, "fn_name": question, "component_id": mix, "session_hash": "tablet"}
        answer = shared.post("component_server/", tablet, body)
        assert "list of bases" in answer.body.decode(), question
    field = component(label="A file, a folder, or a Hub id")
    adding = next(one for one in config["dependencies"] if field in one["inputs"])
    words = heard(shared, tablet, adding["id"], [str(tmp_path), "", ""])
    assert "list of bases" in words
    words = heard(shared, tablet, adding["id"], ["owner/name", "", str(tmp_path)])
    assert "this computer" in words
    by_event, places = {}, {}
    for one in config["dependencies"]:
        for place, event in one["targets"]:
            by_event[event], places[event] = one["id"], place
    shelf = BaseShelf(Home(shared.home))
    name = shelf.add(tiny_base).name
    (draw,) = {one["id"] for one in config["dependencies"] if one["outputs"] == [places["fetch"]]}
    drawn = [heard(shared, headers, draw, []) for headers in (tablet, shared.headers)]
    assert [name in one for one in drawn] == [True, True]
    assert ["For those who know" in one for one in drawn] == [False, True], (
        "what only this computer's user may change"
    )
    asked = {"base": name, "predicts": "", "vae": ""}
    answers = [heard(shared, headers, by_event["settle"], [], asked) for headers in (tablet, shared.headers)]
    assert ["Another device" in one for one in answers] == [True, False]
    assert ["is changed" in one for one in answers] == [False, True]
    merging = {"base": str(tmp_path), "styles": [["Rings", "1"]], "name": "New", "agreed": True}
    assert "list of bases" in heard(shared, tablet, by_event["merge"], [], merging)
    for headers in (tablet, shared.headers):
        for odd in (str(tmp_path), "owner/name"):
            assert "list of bases" in heard(shared, headers, by_event["fetch"], [], {"base": odd})
        for event in ("use", "remove"):
            odd = str(shared.home / "styles")
            assert "There is no base" in heard(shared, headers, by_event[event], [], {"base": odd})
    shelf.remove(name)
    base = component(label="Base to train on")
    restoring = next(one for one in config["dependencies"] if base in one["outputs"] and not one["inputs"])
    heard(shared, tablet, restoring["id"], [])
    values = {one["id"]: one["props"].get("value") for one in config["components"]} | {base: str(tmp_path)}
    # The page puts the whole form into one value, which the handlers are given.
    gathering = next(one for one in config["dependencies"] if base in one["inputs"] and one["outputs"])
    (form,) = gathering["outputs"]
    values[form] = [values.get(place) for place in gathering["inputs"]]
    values[restoring["outputs"][0]] = {}  # what the page says that the fields held before
    of_form = [one for one in config["dependencies"] if form in one["inputs"]]
    answers = [
        heard(shared, tablet, one["id"], [values.get(place) for place in one["inputs"]]) for one in of_form
    ]
    assert sum("list of bases" in answer for answer in answers) == 2, "kept by the draft, and begun"
    draft = shared.home / "draft" / "form.json"
    assert not draft.is_file() or str(tmp_path) not in draft.read_text(encoding="utf-8")


def test_a_wrong_password_is_in_the_log_of_the_home(shared: Shared) -> None:
    answer = shared.ask("GET", "/config", device(8, "let me in please"))
    assert answer.status == 401 and answer.headers["www-authenticate"].startswith("Basic")
    (log,) = (shared.home / "log").glob("*.log")
    text = log.read_text(encoding="utf-8")
    assert text.count("wrong password from a proxy: 1 in a row") == 1 and "let me in" not in text


PAGE = """<!doctype html><title>elsewhere</title><iframe id="frame"></iframe>"""
ATTACK = """async ([site, join]) => {
    const got = [], ran = async (name, act) => { try { if (await act()) got.push(name); } catch (error) {} };
    const read = (path, about) => async () => (await fetch(site + path, {credentials: "include", ...about})).ok;
    const opaque = (path, about) => fetch(site + path, {credentials: "include", mode: "no-cors", ...about});
    const upload = () => { const form = new FormData(); form.append("files", new Blob(["x"]), "stranger.png"); return form; };
    await ran("read", read("config"));
    await ran("read without cookies", read("config", {credentials: "omit"}));
    await ran("json", read("gradio_api/queue/join", {method: "POST", headers: {"content-type": "application/json"}, body: join}));
    await ran("upload", read("gradio_api/upload", {method: "POST", body: upload()}));
    await opaque("gradio_api/upload", {method: "POST", body: upload()}).catch(() => null);
    await opaque("gradio_api/queue/join", {method: "POST", body: join}).catch(() => null);
    await ran("script", () => new Promise(done => { const one = document.createElement("script");
        one.onload = () => done(true); one.onerror = () => done(false); one.src = site + "theme.css"; document.head.append(one); }));
    await ran("picture", () => new Promise(done => { const one = new Image(); one.onload = () => done(true);
        one.onerror = () => done(false); one.src = site + "favicon.ico"; }));
    await ran("events", () => new Promise(done => { const one = new EventSource(site + "gradio_api/queue/data?session_hash=a",
        {withCredentials: true}); one.onopen = () => done(true); one.onerror = () => { one.close(); done(false); }; }));
    await ran("websocket", () => new Promise(done => { const one = new WebSocket(site.replace("http", "ws") + "gradio_api/queue/join");
        one.onopen = () => done(true); one.onerror = () => done(false); }));
    return got;
}"""


@pytest.mark.browser
def test_a_page_of_another_port_gets_nothing_while_ours_works(
    browser: Any, shared: Shared, tmp_path: Path
) -> None:
    """In Chromium, with the cookie of our page in the same browser, which counts both pages as one site."""
    name = "localhost"
    context = browser.new_context()
    context.set_default_timeout(PATIENCE_MS)
    ours, other = context.new_page(), context.new_page()
    site = f"http://{name}:{shared.port}/"
    # As the browser is opened where others see with which words it is started.
    started = tmp_path / "open.html"
    started.write_text(REDIRECT.format(url=f"{site}?key={shared.key}"), encoding="utf-8")
    ours.goto(started.as_uri())
    ours.get_by_role("button", name="Choose pictures").wait_for()
    assert ours.url == site, "the key stays in no address bar"
    before = uploads(shared)
    other.route(f"http://{name}:1234/*", lambda route: route.fulfill(content_type="text/html", body=PAGE))
    other.goto(f"http://{name}:1234/")
    join = json.dumps({"data": [], "fn_index": 0, "session_hash": "stranger"})
    assert other.evaluate(ATTACK, [site, join]) == []
    with context.expect_page() as opened:  # a form that opens a window of ours
        other.evaluate(
            """(site) => { const form = document.createElement("form"); Object.assign(form, {method: "POST", target: "_blank",
            action: site + "gradio_api/upload", enctype: "multipart/form-data"}); document.body.append(form); form.submit(); }""",
            site,
        )
    opened.value.get_by_text("This came from another page").wait_for()
    assert uploads(shared) == before
    other.evaluate("(site) => { location = site; }", site)
    link = other.get_by_role("link", name="Open Atelier")  # by which a visitor from elsewhere goes on
    link.wait_for()
    with other.expect_navigation(wait_until="commit") as gone:
        link.click()
    assert gone.value.ok
    context.close()


def uploads(shared: Shared) -> int:
    """How many files of the stranger's name the window has taken in."""
    return sum(
        file.name == "stranger.png"
        for file in upload(shared, shared.headers, "mine.txt").parents[1].rglob("*")
    )
