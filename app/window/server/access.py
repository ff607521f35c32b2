"""Who gets in: this computer by the key of the home, other devices by the password."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
import math
from collections.abc import Callable
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

from app.i18n import say
from app.key import CHALLENGE, HEADER, PROOF, REDIRECT, proof
from app.window.server.guesses import Guesses
from app.window.server.origin import is_own
from app.window.server.refusal import answer_page, refuse
from app.window.server.routes import API

ASKS_HERE = "atelier.asks_here"  # in an ASGI scope: True where the request came with the key
COOKIE_SECONDS = 400 * 86400  # the longest that browsers keep one
# What a browser fetches without its cookies: the name and the sign of the installed page.
PUBLIC = ("/manifest.json", "/pwa_icon", "/favicon.ico")
STARTING = f"{API}/startup-events"  # asked for by gradio in our own process, and only starts the queue


class KeyAddress:
    """ASGI middleware for the address with the key, which becomes a cookie, and for the launcher's challenge."""

    def __init__(self, app: Any, key: str) -> None:
        self.app = app
        self.key = key

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer these two from this computer, and pass everything else on."""
        if scope["type"] != "http" or scope["path"] != "/" or not from_here(scope):
            await self.app(scope, receive, send)
            return
        challenge = dict(scope["headers"]).get(CHALLENGE.encode("ascii"))
        given = parse_qs(scope["query_string"].decode("latin-1")).get("key", [])
        if challenge is not None:
            answer = (PROOF.encode("ascii"), proof(self.key, challenge.decode("latin-1")).encode("ascii"))
            await send({"type": "http.response.start", "status": 204, "headers": [answer]})
            await send({"type": "http.response.body", "body": b""})
        elif any(same(one, self.key) for one in given):
            # A cookie that is this strict does not go along where another page, or a file, led here: a page of ours
            # in between takes the browser on.
            own = is_own(scope)
            sent = (cookie(self.key), *([(b"location", b"/")] if own else []))
            await answer_page(scope, send, REDIRECT.format(url="/"), 303 if own else 200, sent)
        else:
            await self.app(scope, receive, send)


class Access:
    """ASGI middleware that asks this computer for the key, and others for the password (RFC 7617) if there is one.

    `log` is told of wrong passwords.
    """

    def __init__(self, app: Any, key: str, password: str, log: Callable[[str], object]) -> None:
        self.app = app
        self.key = key
        self.password = password
        self.guesses = Guesses(password, log)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass the request on, noting in its scope whether it came with the key, or refuse it."""
        here, path = from_here(scope), scope["path"]
        scope[ASKS_HERE] = here and self._shows_key(scope)
        if scope[ASKS_HERE]:
            await self.app(scope, receive, self._renewing(scope, send))
        elif path in PUBLIC or (here and path == STARTING):
            await self.app(scope, receive, send)
        elif here or not self.password:
            title = say("This browser has no key yet")
            words = say(
                "Start Atelier with launch.py, which opens this page, or open the address that it printed."
            )
            await refuse(scope, send, title, words)
        else:
            await self._ask_password(scope, receive, send)

    def _shows_key(self, scope: Any) -> bool:
        """Whether the key is in the header or in the cookie."""
        own_cookie = cookie_name(self.key)
        for name, value in scope["headers"]:
            text = value.decode("latin-1")
            if name == HEADER.encode("ascii") and same(text.strip(), self.key):
                return True
            if name == b"cookie":
                pairs = (part.strip().partition("=") for part in text.split(";"))
                if any(one == own_cookie and same(given, self.key) for one, _, given in pairs):
                    return True
        return False

    def _renewing(self, scope: Any, send: Any) -> Any:
        """Keep the cookie of a page that is visited for as long again."""
        if scope["path"] != "/":
            return send

        async def with_cookie(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], cookie(self.key)]
            await send(message)

        return with_cookie

    async def _ask_password(self, scope: Any, receive: Any, send: Any) -> None:
        given, seconds = dict(scope["headers"]).get(b"authorization", b""), 0.0
        if given:
            digest, password = hashlib.sha256(given).digest(), basic_password(given)
            right, seconds = await self.guesses.are_right(address_of(scope), digest, password)
            if right:
                await self.app(scope, receive, send)
                return
        title = say("A password is needed")
        if seconds:
            whole = math.ceil(seconds)
            words = say("Too many wrong passwords came from this device. Wait {seconds} s, then load the page again.",
                        seconds=whole)  # fmt: skip
            wait = (b"retry-after", str(whole).encode("ascii"))
            status = HTTPStatus.TOO_MANY_REQUESTS
            await refuse(scope, send, title, words, status=status, headers=(wait,))
            return
        words = say("It was chosen in the settings of Atelier, on the computer where it runs.")
        header = (b"www-authenticate", b'Basic realm="Atelier", charset="UTF-8"')
        await refuse(scope, send, title, words, status=HTTPStatus.UNAUTHORIZED, headers=(header,))


def same(given: str, secret: str) -> bool:
    """Compare two texts in a time that says nothing of where they differ."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), secret.encode("utf-8"))


def cookie_name(key: str) -> str:
    """The cookie's name: of this home alone, since browsers send the cookies of all ports of a machine to each."""
    return "atelier-" + hashlib.sha256(key.encode("ascii")).hexdigest()[:12]


def cookie(key: str) -> tuple[bytes, bytes]:
    """The header that has a browser keep the key: out of reach of scripts, and never sent along by other sites."""
    value = f"{cookie_name(key)}={key}; Path=/; Max-Age={COOKIE_SECONDS}; HttpOnly; SameSite=Strict"
    return b"set-cookie", value.encode("ascii")


def basic_password(header: bytes) -> str | None:
    """The password in an Authorization header (RFC 7617), None where there is none."""
    scheme, _, coded = header.partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        return base64.b64decode(coded, validate=True).decode("utf-8").partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return None


def from_here(scope: Any) -> bool:
    """Whether a request comes from this computer, and was not handed on by a proxy on it."""
    try:
        address = ipaddress.ip_address((scope.get("client") or [""])[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def address_of(scope: Any) -> str:
    """By what wrong passwords are counted: an address, of IPv6 the network that one device may choose among.

    What a proxy hands on counts as one, since it could be made up.
    """
    if any(name.startswith((b"x-forwarded-", b"forwarded")) for name, _ in scope["headers"]):
        return "a proxy"
    try:
        address = ipaddress.ip_address((scope.get("client") or [""])[0])
    except ValueError:
        return "unknown"
    if isinstance(address, ipaddress.IPv6Address):
        mapped = address.ipv4_mapped
        return str(mapped) if mapped else str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
