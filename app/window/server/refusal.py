"""The small page that says why a request is refused."""

from __future__ import annotations

from html import escape
from typing import Any

from app.i18n import language, say

PAGE = """<!doctype html><html lang="{language}"><meta charset="utf-8"><title>Atelier: {title}</title>
<meta name="viewport" content="width=device-width"><style>body{{font:16px/1.5 system-ui,sans-serif;max-width:34rem;
margin:15vh auto;padding:0 1rem;color-scheme:light dark}}</style><h1>{title}</h1><p>{words}</p>{link}</html>"""


async def refuse(
    scope: Any, send: Any, title: str, words: str, *, status: int = 403, link: bool = False,
    headers: tuple[tuple[bytes, bytes], ...] = (),
) -> None:  # fmt: skip
    """Answer an HTTP request or a websocket with `status` and a page; `link` leads a visitor to the window."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    way = f'<p><a href="/">{escape(say("Open Atelier"))}</a></p>' if link else ""
    page = PAGE.format(language=language(), title=escape(title), words=escape(words), link=way)
    await answer_page(scope, send, page, status, headers)


async def answer_page(
    scope: Any, send: Any, page: str, status: int, headers: tuple[tuple[bytes, bytes], ...] = ()
) -> None:
    """Send a page that nobody keeps."""
    body = page.encode("utf-8")
    about = (
        (b"content-type", b"text/html; charset=utf-8"), (b"content-length", str(len(body)).encode("ascii")),
        (b"cache-control", b"no-store"),
    )  # fmt: skip
    await send({"type": "http.response.start", "status": status, "headers": [*about, *headers]})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
