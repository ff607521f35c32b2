"""Who gets in, and what goes out with every answer: ASGI middleware around the page."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import ipaddress
import json
import socket
from typing import Any

from app.password import matches
from app.words import language
from styles.home import Home

HERE, EVERYWHERE = "127.0.0.1", "0.0.0.0"
WRONG_PASSWORD_SECONDS = 1.0  # what a wrong try costs
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
)


def middleware(password: str, sign: str = "") -> list[Any]:
    """All of it, the outermost first; `password` is the kept one where other devices are let in, else empty.

    By `sign` the launcher knows the window of a home again, which has written it down there.
    """
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    # Another site whose name resolves to this machine must not reach the page (DNS rebinding).
    names = [HERE, "localhost", *(own_names() if password else [])]
    door = [Middleware(Doorkeeper, password=password)] if password else []
    hosts = Middleware(TrustedHostMiddleware, allowed_hosts=names)
    return [hosts, *door, Middleware(Headers, sign=sign), Middleware(SpokenPage)]


def own_names() -> list[str]:
    """What other devices of the network may call this machine: its addresses there, and its name."""
    name = socket.gethostname()
    return [*own_addresses(), name, name.split(".")[0] + ".local"]


def own_addresses() -> list[str]:
    """The addresses (IPv4) of this machine in its networks, the one it would use to get out first."""
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # an address for documentation; nothing is sent
            found.append(str(probe.getsockname()[0]))
        except OSError:
            pass  # in no network
    try:
        told = socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)
        found += [str(address[4][0]) for address in told]
    except OSError:
        pass  # a machine whose name nobody knows
    return [address for address in dict.fromkeys(found) if not ipaddress.ip_address(address).is_loopback]


def open_port(home: Home) -> int:
    """The port that the window over this home is served at, as it told the launcher; 0 before that."""
    try:
        return int(json.loads((home.root / "running.json").read_text(encoding="utf-8"))["port"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


class Doorkeeper:
    """ASGI middleware that asks other devices for the password (RFC 7617), and this one for nothing."""

    def __init__(self, app: Any, password: str) -> None:
        self.app = app
        self.password = password
        self._known: set[bytes] = set()  # digests of headers that were right: hashing takes a while by design

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass the request on, or answer that a password is needed."""
        if scope["type"] == "lifespan" or _from_here(scope) or await self._knows(scope):
            await self.app(scope, receive, send)
            return
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        asked = (b"www-authenticate", b'Basic realm="Atelier", charset="UTF-8"')
        await send({"type": "http.response.start", "status": 401, "headers": [asked]})
        await send({"type": "http.response.body", "body": b"Atelier: a password is needed."})

    async def _knows(self, scope: Any) -> bool:
        given = dict(scope["headers"]).get(b"authorization", b"")
        digest = hashlib.sha256(given).digest()
        if digest in self._known:
            return True
        scheme, _, coded = given.partition(b" ")
        if scheme.lower() != b"basic":
            return False
        try:
            password = base64.b64decode(coded, validate=True).decode("utf-8").partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return False
        if await asyncio.to_thread(matches, password, self.password):
            self._known.add(digest)
            return True
        await asyncio.sleep(WRONG_PASSWORD_SECONDS)
        return False


def _from_here(scope: Any) -> bool:
    try:
        return ipaddress.ip_address((scope.get("client") or [""])[0]).is_loopback
    except ValueError:
        return False


class Headers:
    """ASGI middleware that adds HEADERS and the sign of this window to every answer."""

    def __init__(self, app: Any, sign: str) -> None:
        self.app = app
        self.headers = (*HEADERS, (b"x-atelier", sign.encode("ascii")))

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass the request on, with the headers put on its answer."""

        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *self.headers]
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
            kept = [(name, value) for name, value in start[0]["headers"] if name != b"content-length"]
            length = (b"content-length", str(len(page)).encode("ascii"))
            await send(start[0] | {"headers": [*kept, length]})
            await send({"type": "http.response.body", "body": page})

        await self.app(scope, receive, rewritten)


def in_language(page: bytes) -> bytes:
    """The page with our language for a screen reader, and for gradio, which asks the browser for it."""
    ours = language()
    told = f"<script>Object.defineProperty(navigator,'language',{{get:()=>'{ours}'}})</script>"
    page = page.replace(b'lang="en"', f'lang="{ours}"'.encode("ascii"), 1)
    return page.replace(b"<head>", b"<head>" + told.encode("ascii"), 1)
