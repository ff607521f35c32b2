"""Serving the page to this machine only, and telling the launcher where it is."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import tempfile
import threading
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from app.studio import Studio
from app.window.look import CSS, theme
from app.window.page import build
from styles.atomic import write_text
from styles.errors import BadInput, Failure

ADDRESS = "127.0.0.1"
FIRST_PORT, PORTS_TRIED = 7860, 40
LARGEST_UPLOAD = "500mb"
# Nothing on the page may come from, or go to, anywhere else.
CONTENT_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; "
    "worker-src 'self' blob:; frame-ancestors 'none'; base-uri 'self'; form-action 'self'"
)
HEADERS = (
    (b"content-security-policy", CONTENT_POLICY.encode("ascii")),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)


class SafetyHeaders:
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


def serve(studio: Studio, port: int | None = None, open_browser: bool = True) -> None:
    """Serve the page until Ctrl+C or a termination signal; trainings go on after that.

    Raises BadInput where `port` is taken, Failure where a window over this home is open already.
    """
    with _only_window(studio), _private_folder():
        chosen = _free_port(port)
        page = build(studio)
        ended = threading.Event()
        try:
            with _no_proxy_to_ourselves():
                _, url, _ = page.launch(
                    server_name=ADDRESS, server_port=chosen, prevent_thread_lock=True, quiet=True, inbrowser=False,
                    share=False, ssr_mode=False, pwa=False, enable_monitoring=False, mcp_server=False,
                    strict_cors=True, run_history=False, max_file_size=LARGEST_UPLOAD, show_error=False,
                    footer_links=[], allowed_paths=[str(studio.home.pictures.absolute())], theme=theme(), css=CSS,
                    app_kwargs={"middleware": _middleware()},
                )  # fmt: skip
            running = studio.home.root / "running.json"
            write_text(running, json.dumps({"port": chosen, "pid": os.getpid()}))
            print(
                f"Atelier is open at {url}  (Ctrl+C closes it; a training goes on)",
                file=sys.stderr,
                flush=True,
            )
            if open_browser:
                threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
            studio.warm_up()
            _wait(ended)
        finally:
            (studio.home.root / "running.json").unlink(missing_ok=True)
            page.close(verbose=False)
            studio.close()


@contextmanager
def _no_proxy_to_ourselves() -> Iterator[None]:
    """Keep this machine's addresses from the proxy for as long as gradio looks whether its page answers."""
    before = {name: os.environ.get(name) for name in ("no_proxy", "NO_PROXY")}
    ours = f"{ADDRESS},localhost"
    listed = before["no_proxy"] or before["NO_PROXY"]  # whoever reads them looks at the lower case first
    os.environ.update(dict.fromkeys(before, f"{listed},{ours}" if listed else ours))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _middleware() -> list[Any]:
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    # Another site whose name resolves to 127.0.0.1 must not reach the page (DNS rebinding).
    hosts = Middleware(TrustedHostMiddleware, allowed_hosts=[ADDRESS, "localhost"])
    return [hosts, Middleware(SafetyHeaders)]


def _wait(ended: threading.Event) -> None:
    """Return at Ctrl+C or a termination signal."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: ended.set())
    try:
        while not ended.wait(timeout=1.0):  # with a timeout, so that Ctrl+C gets through on Windows
            pass
    except KeyboardInterrupt:
        pass


@contextmanager
def _only_window(studio: Studio) -> Iterator[None]:
    """Hold the home's lock, by which the launcher knows that a window is open."""
    try:
        with FileLock(studio.home.root / "running.lock", timeout=0):
            yield
    except Timeout as error:
        raise Failure(
            f"A window over {studio.home.root} is open already.", "Use that one, or choose another --home."
        ) from error


@contextmanager
def _private_folder() -> Iterator[None]:
    """Work in a new, empty folder of our own: gradio would publish what lies in the working directory."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="atelier-", ignore_cleanup_errors=True) as folder:
        files = Path(folder) / "files"
        empty = Path(folder) / "empty"
        files.mkdir()
        empty.mkdir()
        os.environ["GRADIO_TEMP_DIR"] = str(files)
        os.chdir(empty)
        try:
            yield
        finally:
            os.chdir(before)


def _free_port(wanted: int | None) -> int:
    if wanted is not None:
        if not _is_free(wanted):
            raise BadInput(
                f"Port {wanted} is in use by another program.",
                "Choose another --port, or none: a free one is found.",
            )
        return wanted
    for port in range(FIRST_PORT, FIRST_PORT + PORTS_TRIED):
        if _is_free(port):
            return port
    raise Failure(
        f"All ports from {FIRST_PORT} to {FIRST_PORT + PORTS_TRIED - 1} are in use.", "Choose a --port."
    )


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        if os.name != "nt":  # on Windows this option would let us share a port that is in use
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((ADDRESS, port))
        except OSError:
            return False
    return True
