"""What of gradio's web server is used at all, and how files go out: what is not named here is not there."""

from __future__ import annotations

import re
from typing import Any, NoReturn

import gradio as gr
import gradio.processing_utils

from app.i18n import say
from app.window.scripts import PATH as SCRIPTS
from app.window.server.news import PATH as NEWS
from app.window.server.refusal import refuse

API = "/gradio_api"
FILE = f"{API}/file="
# Of each route its methods.
ROUTES: dict[str, tuple[str, ...]] = {
    "/": ("GET", "HEAD"),
    "/config": ("GET",),
    "/theme.css": ("GET",),
    "/favicon.ico": ("GET",),
    "/manifest.json": ("GET",),
    "/pwa_icon": ("GET",),
    NEWS: ("GET",),
    f"{API}/theme.css": ("GET",),
    f"{API}/info": ("GET",),
    f"{API}/startup-events": ("GET",),
    # Asked for by a page that has lost the window, until it is there again: then the page loads itself anew.
    f"{API}/app_id": ("GET",),
    f"{API}/queue/join": ("POST",),
    f"{API}/queue/data": ("GET",),
    f"{API}/cancel": ("POST",),
    f"{API}/reset": ("POST",),
    f"{API}/run/predict": ("POST",),
    f"{API}/component_server/": ("POST",),
    f"{API}/upload": ("POST",),
    f"{API}/upload_progress": ("GET",),
}
# What our scripts and gradio's own, its styles and signs lie under, and the sign of life of a page.
FOLDERS = (SCRIPTS, "/assets/", "/static/", f"{API}/heartbeat/")
# A whole path on this machine: not an address of the web, nor another machine's folder (\\\\name on Windows).
WHOLE_PATH = re.compile(r"/(?![/\\])|[A-Za-z]:[/\\]")
# The only files that a browser may show by themselves: what can run no script.
SHOWN = (b"image/png", b"image/jpeg", b"image/webp", b"image/gif")
HARMLESS = (b"content-security-policy", b"default-src 'none'; sandbox")


class KnownRoutes:
    """ASGI middleware that answers 404 for what the page and scripts don't need of gradio, and hands files out."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass a known route on."""
        if scope["type"] != "http" or not is_known(scope["method"], scope["path"]):
            words = say("There is nothing at this address.")
            await refuse(scope, send, say("Not found"), words, status=404)
        elif scope["path"].startswith(FILE):
            # Gradio would answer a part of a file with the headers of the request.
            whole = [(name, value) for name, value in scope["headers"] if name not in (b"range", b"if-range")]
            await self.app(scope | {"headers": whole}, receive, harmless(send))
        else:
            await self.app(scope, receive, send)


def is_known(method: str, path: str) -> bool:
    """Whether a request is one of those above."""
    if path.startswith(FILE):
        return method in ("GET", "HEAD") and WHOLE_PATH.match(path[len(FILE) :]) is not None
    return method in ROUTES.get(path, ()) or (method == "GET" and path.startswith(FOLDERS))


def harmless(send: Any) -> Any:
    """Let a browser show pictures only, and save all else: a page among the pictures would be a page of ours."""

    async def as_file(message: Any) -> None:
        if message["type"] == "http.response.start":
            sent = [(name.lower(), value) for name, value in message["headers"]]
            about = dict(sent)
            kind = about.get(b"content-type", b"").partition(b";")[0].strip().lower()
            if message["status"] == 200 and kind not in SHOWN:
                place = about.get(b"content-disposition", b"attachment").replace(b"inline", b"attachment", 1)
                sent = [one for one in sent if one[0] not in (b"content-type", b"content-disposition")]
                sent += [(b"content-type", b"application/octet-stream"), (b"content-disposition", place)]
            message["headers"] = [*sent, HARMLESS]
        await send(message)

    return as_file


def fetch_nothing() -> None:
    """Keep gradio from fetching an address that stands where a page names a file: all of it goes by this function."""
    gradio.processing_utils.async_ssrf_protected_get = _refuse_fetch


async def _refuse_fetch(url: str) -> NoReturn:
    raise gr.Error(say("Atelier fetches no file from the web for a page."), print_exception=False)
