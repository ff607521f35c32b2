"""All that stands around the page as ASGI middleware, and what goes out with every answer."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware

from app.i18n import language
from app.window.scripts import head
from app.window.server.access import Access, KeyAddress
from app.window.server.origin import OwnOrigin
from app.window.server.routes import KnownRoutes
from app.window.server.sessions import EndedStreams, OpenPages, keep_few_sessions
from app.window.server.uploads import BoundUploads

HERE, EVERYWHERE = "127.0.0.1", "0.0.0.0"
# Nothing on the page may come from, or go to, anywhere else.
CONTENT_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' blob:; "
    "worker-src 'self' blob:; frame-ancestors 'none'; base-uri 'self'; form-action 'self'"
)
HEADERS = (
    (b"content-security-policy", CONTENT_POLICY.encode("ascii")),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    # Another page may neither show what is ours nor keep hold of a window of ours.
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
)


def around(key: str, password: str, log: Callable[[str], object], folder: Path) -> dict[str, Any]:
    """What gradio hands on to its web application, by which the page is guarded; see `is_guarded`.

    `password` is the kept one where other devices are let in, else empty; `log` is told of wrong ones. `folder`
    is the one for this window's temporary files.
    """
    # Another site whose name resolves to this machine must not reach the page (DNS rebinding).
    names = [HERE, "localhost", *(own_names() if password else [])]
    outermost_first = [
        Middleware(Headers),
        Middleware(TrustedHostMiddleware, allowed_hosts=names),
        Middleware(KeyAddress, key=key),
        Middleware(OwnOrigin),
        Middleware(KnownRoutes),
        Middleware(Access, key=key, password=password, log=log),
        Middleware(BoundUploads, folder=folder),
    ]

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        # Before the first request, and around all: gradio puts its own CORS, which lets every page of this machine in,
        # outside of what it is given as middleware.
        open_pages = Middleware(OpenPages, sessions=keep_few_sessions(app))
        for cls, arguments, named in reversed([*outermost_first, open_pages, Middleware(EndedStreams)]):
            app.middleware_stack = cls(app.middleware_stack, *arguments, **named)
        yield

    return {"middleware": [Middleware(SpokenPage)], "lifespan": lifespan}


def is_guarded(app: Any) -> bool:
    """Whether gradio has put all of it around its web application."""
    return isinstance(app.middleware_stack, Headers)


def own_names() -> list[str]:
    """What other devices of the network may call this machine: its addresses there, and its name."""
    name = socket.gethostname()
    return [*own_addresses(), name, name.split(".")[0] + ".local"]


def own_addresses() -> list[str]:
    """The addresses (IPv4) of this machine in its networks, the one it would use to get out first."""
    addresses = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # an address for documentation; nothing is sent
            addresses.append(str(probe.getsockname()[0]))
        except OSError:
            pass  # in no network
    try:
        answers = socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)
        addresses += [str(address[4][0]) for address in answers]
    except OSError:
        pass  # a machine whose name nobody knows
    return [address for address in dict.fromkeys(addresses) if not ipaddress.ip_address(address).is_loopback]


class Headers:
    """ASGI middleware that adds HEADERS to every answer."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass the request on, with the headers put on its answer."""

        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *HEADERS]
            await send(message)

        await self.app(scope, receive, with_headers if scope["type"] == "http" else send)


class SpokenPage:
    """ASGI middleware that has the page tell the browser its language, for the words that are gradio's own."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass the request on, with the language written into the page's first lines."""
        if scope["type"] != "http" or scope["path"] != "/":
            await self.app(scope, receive, send)
            return
        start: list[Any] = []
        body = bytearray()

        async def rewritten(message: Any) -> None:
            if message["type"] == "http.response.start":
                start.append(message)
                return
            body.extend(message.get("body", b""))
            if message.get("more_body"):
                return
            page = in_language(bytes(body))
            headers = [(name, value) for name, value in start[0]["headers"] if name != b"content-length"]
            length = (b"content-length", str(len(page)).encode("ascii"))
            await send(start[0] | {"headers": [*headers, length]})
            await send({"type": "http.response.body", "body": page})

        await self.app(scope, receive, rewritten)


def in_language(page: bytes) -> bytes:
    """The page with our language for a screen reader, and for gradio, which asks the browser for it; and our scripts."""
    ours = language()
    script_tags = (
        f"<script>Object.defineProperty(navigator,'language',{{get:()=>'{ours}'}});</script>{head()}"
    )
    page = page.replace(b'lang="en"', f'lang="{ours}"'.encode("ascii"), 1)
    return page.replace(b"<head>", b"<head>" + script_tags.encode("ascii"), 1)
