"""Who else may ask the window for something, and what is sent then: other pages, other users, other devices."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import re
import socket
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from app.window.server.access import PUBLIC, STARTING, cookie_name
from app.window.server.middleware import own_names
from tests.app.conftest import Served

PASSWORD = "paint & water"
API = "/gradio_api"
# A method and a path; who asks and what is sent.
Route = tuple[str, str]
Stranger = tuple[str, dict[str, str]]


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Shared(Served):
    """A window that lets other devices in: whatever holds here holds where it does not."""

    @property
    def port(self) -> int:
        port = urlsplit(self.site).port
        assert port is not None
        return port

    @property
    def key(self) -> str:
        return self.headers["x-atelier-key"]

    @property
    def cookie(self) -> dict[str, str]:
        """What the browser of this user sends, whichever page asks."""
        return {"Cookie": f"{cookie_name(self.key)}={self.key}"}

    def ask(self, method: str, path: str, sent: dict[str, str] | None = None, body: str = "") -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        try:
            connection.request(method, path, body or None, sent or {})
            answer = connection.getresponse()
            streams = "event-stream" in answer.getheader("content-type", "")
            names = {name.lower() for name, _ in answer.getheaders()}
            headers = {name: str(answer.getheader(name)) for name in names}
            return Answer(answer.status, headers, b"" if streams else answer.read())
        finally:
            connection.close()

    def post(self, path: str, headers: dict[str, str], about: dict[str, Any]) -> Answer:
        return self.ask(
            "POST", f"{API}/{path}", headers | {"Content-Type": "application/json"}, json.dumps(about)
        )

    def status(self, path: str = "/", headers: dict[str, str] | None = None, method: str = "GET") -> int:
        return self.ask(method, path, headers).status


def device(number: int, password: str = "") -> dict[str, str]:
    """What another device sends; the web server takes a proxy on this machine at its word about the address."""
    coded = base64.b64encode(f"anybody:{password}".encode()).decode()
    return {"X-Forwarded-For": f"192.0.2.{number}"} | (
        {"Authorization": f"Basic {coded}"} if password else {}
    )


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """Run it in a thread of its own: in this one the browser of other tests may have its loop."""
    with ThreadPoolExecutor(1) as apart:
        return apart.submit(asyncio.run, work).result()


async def every_route() -> list[tuple[str, str]]:
    """Method and path of all that gradio serves, in this version, and two ways that it does not."""
    import gradio as gr
    from gradio.routes import App

    found = [("OPTIONS", f"{API}/queue/join"), ("GET", "/no/such/place")]
    routes: list[Any] = list(App.create_app(gr.Blocks()).routes)
    for route in routes:
        routes += getattr(getattr(route, "original_router", None), "routes", [])
        path = getattr(route, "path", "")
        for given, put in (("path_or_url", "/etc/hostname"), ("url_path", "https://x"), ("path", "x.js")):
            path = path.replace(f"{{{given}:path}}", put)
        path = re.sub("{.*?}", "1", path)
        found += [(method, path) for method in getattr(route, "methods", None) or ()]
    return sorted(set(found))


def strangers(shared: Shared) -> list[tuple[str, dict[str, str]]]:
    """Who else may ask, and what is sent then."""
    own, other, machine = shared.port, shared.port + 1, socket.gethostname()
    pages = [
        f"http://localhost:{other}", f"http://127.0.0.1:{other}", "null", "http://evil.example",
        *(f"http://{name}:{other}" for name in ("[::1]", machine, "0.0.0.0")), "http://localhost", f"https://127.0.0.1:{own}", f"http://127.0.0.1.evil.example:{own}",
        f"http://localhost:{own}", "file://", "chrome-extension://abcdef", "",
    ]  # fmt: skip
    found: list[tuple[str, dict[str, str]]] = []
    for origin in pages:
        found.append((f"page {origin}", {"Origin": origin, "Host": f"127.0.0.1:{own}"} | shared.cookie))
    for name in own_names():  # where the machine's name resolves to itself
        found.append(
            (f"page by {name}", {"Origin": f"http://{name}:{other}", "Host": f"{name}:{own}"} | shared.cookie)
        )
    for site in ("cross-site", "same-site", "odd"):
        found.append((site, {"Sec-Fetch-Site": site} | shared.cookie))
        found.append((f"{site}, own", {"Sec-Fetch-Site": site, "Origin": shared.site[:-1]} | shared.cookie))
    found.append(("rebound name", {"Host": "evil.example"} | shared.cookie))
    return found


def keyless(shared: Shared) -> list[tuple[str, dict[str, str]]]:
    """Programs of other users, and devices without the password."""
    name = cookie_name(shared.key)
    return [
        ("no key", {}),
        ("wrong key", {"x-atelier-key": "k" * 43}),
        ("empty key", {"x-atelier-key": "", "Cookie": f"{name}="}),
        ("other home's cookie", {"Cookie": f"atelier-000000000000={shared.key}"}),
        ("password from here", {"Authorization": device(1, PASSWORD)["Authorization"]}),
        ("another device", device(2)),
        ("another device with key", device(3) | shared.headers | shared.cookie),
    ]  # fmt: skip


def _lets_in(shared: Shared, route: Route, stranger: Stranger) -> str | None:
    """What was answered to somebody who should have been refused, None where that was so."""
    answer = shared.ask(*route, stranger[1])
    refused = answer.status in (400, 401, 403, 404) and "access-control-allow-origin" not in answer.headers
    return None if refused else f"{answer.status} {' '.join(route)} for {stranger[0]}"


def let_in(shared: Shared, cases: list[tuple[Route, Stranger]]) -> list[str]:
    """What was answered to those who should have been refused, eight asking at a time."""
    with ThreadPoolExecutor(8) as several:
        return [one for one in several.map(lambda case: _lets_in(shared, *case), cases) if one]


def refused_on(shared: Shared, route: Route) -> list[Stranger]:
    """Those without key and password whom a route has to refuse: some routes are open, and say nothing."""
    if route[1].startswith(PUBLIC):
        return []
    return [who for who in keyless(shared) if route[1] != STARTING or "another" in who[0]]


def heard(
    shared: Shared,
    headers: dict[str, str],
    handler: int,
    data: list[Any],
    event: dict[str, str] | None = None,
) -> str:
    """What comes of a handler of the page, asked for by the queue: all of the answers as they are sent."""
    session = "a page of another device"
    about = {"data": data, "fn_index": handler, "session_hash": session, "event_data": event}
    shared.post("queue/join", headers, about)
    connection = http.client.HTTPConnection("127.0.0.1", shared.port, timeout=300)
    connection.request("GET", f"{API}/queue/data?session_hash={quote(session)}", headers=headers)
    lines = []
    for line in connection.getresponse():
        lines.append(line.decode())
        if "process_completed" in lines[-1] or "close_stream" in lines[-1]:
            break
    connection.close()
    return "".join(lines)


def upload(shared: Shared, headers: dict[str, str], name: str) -> Path:
    """Send a small file; where it lies now."""
    form = f'--b\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\nmine\r\n--b--\r\n'
    sent = headers | {"Content-Type": "multipart/form-data; boundary=b"}
    return Path(json.loads(shared.ask("POST", f"{API}/upload", sent, form).body)[0])
