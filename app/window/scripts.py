"""The page's scripts: ES modules that stand beside the rooms they draw, and are handed out as they are.

Their address holds a hash of them all, so that a browser may keep them for ever: another version has another address.
"""

from __future__ import annotations

import functools
import hashlib
import json
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

PATH = "/scripts/"
FIRST = "page.js"  # imports all others
HEADERS = {"cache-control": "private, max-age=31536000, immutable"}


@functools.cache
def scripts() -> dict[str, bytes]:
    """All of them, by their path below this folder."""
    folder = Path(__file__).parent
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in sorted(folder.rglob("*.js"))}


@functools.cache
def version() -> str:
    """A hash of all scripts."""
    parts = [part for name, script in scripts().items() for part in (name.encode("ascii"), script)]
    return hashlib.blake2s(b"\0".join(parts), digest_size=8).hexdigest()


def mount(name: str, *events: str) -> str:
    """What an HTML component runs when it is shown: `mount` of the module of that name, such as `create/mix`.

    Gradio knows only those of the events that a script triggers which stand in this text in quotes.
    """
    given = "{ element, trigger, props, server, upload, watch }"
    return f"{_exported(name, 'mount')}({given}); // triggers {json.dumps(events)}"


def call(name: str, function: str, *arguments: Any) -> str:
    """What a handler of gradio runs on the page: a function of a module, given `arguments` and then the handler's inputs."""
    given = ", ".join([*map(json.dumps, arguments), "...inputs"])
    return f"(...inputs) => {_exported(name, function)}({given})"


def _exported(name: str, function: str) -> str:
    assert f'"{name}":'.encode("ascii") in scripts()[FIRST], name
    assert f"export function {function}(".encode("ascii") in scripts()[f"{name}.js"], function
    return f"window.atelierModules[{json.dumps(name)}].{function}"


def head() -> str:
    """What the page's head says of them: all are fetched at once, and run in turn before gradio's own, which stand below."""
    folder = f"{PATH.lstrip('/')}{version()}/"
    others = (name for name in scripts() if name != FIRST)
    preloads = (f'<link rel="modulepreload" href="{folder}{name}">' for name in others)
    return f'<script type="module" src="{folder}{FIRST}"></script>{"".join(preloads)}'


def route() -> Route:
    """Where the page fetches them."""

    async def answer(request: Request) -> Response:
        script = scripts().get(request.path_params["name"])
        if script is None or request.path_params["version"] != version():
            return PlainTextResponse("There is no such script.", status_code=404)
        return Response(script, media_type="text/javascript", headers=HEADERS)

    return Route(PATH + "{version}/{name:path}", answer, methods=["GET"])
