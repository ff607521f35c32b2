"""Only our own page: whatever another web page sends is refused, before anything else looks at it."""

from __future__ import annotations

from typing import Any

from app.i18n import say
from app.window.server.refusal import refuse

# What a browser says of who asks (Fetch Metadata): this very page, or the person by the address bar or a bookmark.
OWN_SITES = (b"same-origin", b"none")


class OwnOrigin:
    """ASGI middleware that refuses requests of other pages, also of those on another port of this machine.

    A browser says in `Origin` (RFC 6454) or `Sec-Fetch-Site` which page a request comes from, and lets no page say
    otherwise. A script sends neither, and is asked for the key further in.
    """

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass the request on, or answer 403, a preflight (OPTIONS) included."""
        if is_own(scope):
            await self.app(scope, receive, send)
            return
        title = say("This came from another page")
        words = say("Atelier answers to its own page only. If you followed a link here, go on by this one:")
        await refuse(scope, send, title, words, link=is_visit(scope))


def is_own(scope: Any) -> bool:
    """Whether a request comes from our own page, from the person, or from no page at all."""
    sent = scope["headers"]
    host = next((value for name, value in sent if name == b"host"), b"")
    scheme = {"ws": b"http", "wss": b"https"}.get(scope["scheme"], scope["scheme"].encode("ascii"))
    ours = scheme + b"://" + host.lower()
    origins = [value.lower() for name, value in sent if name == b"origin"]
    sites = [value.lower() for name, value in sent if name == b"sec-fetch-site"]
    return all(origin == ours for origin in origins) and all(site in OWN_SITES for site in sites)


def is_visit(scope: Any) -> bool:
    """Whether a browser is about to show the answer as a page of its own."""
    sent = dict(scope["headers"])
    kind = sent.get(b"sec-fetch-mode"), sent.get(b"sec-fetch-dest")
    return scope.get("method") == "GET" and kind == (b"navigate", b"document")
