"""Serving the page, to this machine only where nothing else was chosen, and telling the launcher where it is."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import gradio.http_server
from filelock import FileLock, Timeout
from gradio.exceptions import ServerFailedToStartError

from app.i18n import say, say_error
from app.key import address, home_key, open_page, running_file
from app.log import write_note
from app.studio import Studio
from app.temporary import private_folder
from app.window import scripts
from app.window.look import SIGN, css, theme
from app.window.page import build
from app.window.server.middleware import EVERYWHERE, HERE, around, is_guarded
from app.window.server.native import end_at_signal, refuse_without_webview, show_natively
from app.window.server.news import News
from app.window.server.routes import fetch_nothing
from styles.errors import AtelierError, BadInput, Failure
from styles.storage.atomic import set_aside, write_private
from styles.storage.file_reading import why

FIRST_PORT, PORTS_TRIED = 7860, 40
LARGEST_UPLOAD = "500mb"


def serve(studio: Studio, port: int | None = None, open_browser: bool = True, native: bool = False) -> None:
    """Serve the page until Ctrl+C or a termination signal; trainings go on after that.

    `native` shows it in a window of its own, by pywebview, and ends with that. Raises BadInput where `port` is taken
    or pywebview is not installed, Failure where a window over this home is open already.
    """
    if native:
        refuse_without_webview()
    settings = studio.settings
    listening = EVERYWHERE if settings.shared else HERE
    with _only_window(studio), private_folder() as folder:
        _free_port(port, listening)  # a port that is taken is told before anything is built
        fetch_nothing()
        wait_for_web_server()
        news = News()
        page = build(studio, news)
        ended, key = threading.Event(), home_key(studio.home)
        guard = around(
            key,
            settings.password if settings.shared else "",
            lambda text: write_note(studio.home, text),
            folder,
        )
        try:
            with _no_proxy_to_ourselves():
                chosen = _launch(
                    page, port, server_name=listening, prevent_thread_lock=True, quiet=True, inbrowser=False,
                    share=False, ssr_mode=False, pwa=True, favicon_path=SIGN, enable_monitoring=False, mcp_server=False,
                    strict_cors=True, run_history=False, max_file_size=LARGEST_UPLOAD, show_error=False,
                    footer_links=[], allowed_paths=[str(studio.home.pictures.absolute())], theme=theme(), css=css(),
                    app_kwargs=guard | {"routes": [news.route(), scripts.route()]},
                    _frontend=False,  # gradio would look for its page as somebody who has no key
                )  # fmt: skip
            _tell_launcher(studio, chosen)
            url = address(chosen, key)
            words = say("Atelier is open at {url}  (Ctrl+C closes it; a training goes on)", url=url)
            print(words, file=sys.stderr, flush=True)
            if open_browser and not native:
                threading.Thread(target=open_page, args=(studio.home, url), daemon=True).start()
            studio.warm_up()
            studio.idle.start()
            if native:
                show_natively(url, ended)
            else:
                _wait(ended)
        finally:
            with suppress(OSError):  # a home that can only be read has none
                running_file(studio.home).unlink(missing_ok=True)
            page.close(verbose=False)
            studio.close()


def _launch(page: Any, port: int | None, *, server_name: str, **options: Any) -> int:
    """Launch the page and return its port; another one where a program takes the free port in between."""
    for tries_left in reversed(range(PORTS_TRIED)):
        chosen = _free_port(port, server_name)
        try:
            page.launch(server_name=server_name, server_port=chosen, **options)
            assert is_guarded(page.app), "the page would be open to everybody"
            return chosen
        except OSError:
            if port is not None or not tries_left:
                raise
    raise AssertionError("the last try returns or raises")


def wait_for_web_server() -> None:
    """Have gradio wait for its web server for as long as that is starting; after 5 s it would give up."""
    gradio.http_server.Server.run_in_thread = _run_in_thread


def _run_in_thread(server: gradio.http_server.Server) -> None:
    """Start a web server in a thread of its own; raises ServerFailedToStartError where that ends instead."""
    server.thread = threading.Thread(target=server.run, daemon=True)
    server.thread.start()
    while not server.started:
        server.thread.join(timeout=0.01)
        if not server.thread.is_alive() and not server.started:
            raise ServerFailedToStartError("The web server could not be started.")


@contextmanager
def _no_proxy_to_ourselves() -> Iterator[None]:
    """Keep this machine's addresses from the proxy for as long as gradio looks whether its page answers."""
    before = {name: os.environ.get(name) for name in ("no_proxy", "NO_PROXY")}
    ours = f"{HERE},localhost"
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


def _wait(ended: threading.Event) -> None:
    """Return at Ctrl+C or a termination signal."""
    end_at_signal(ended)
    try:
        while not ended.wait(timeout=1.0):  # with a timeout, so that Ctrl+C gets through on Windows
            pass
    except KeyboardInterrupt:
        pass


@contextmanager
def _only_window(studio: Studio) -> Iterator[None]:
    """Hold the home's lock, by which the launcher knows that a window is open."""
    # The short wait lets a launcher look at the lock at the same moment.
    lock = FileLock(studio.home.root / "running.lock", timeout=1)
    try:
        lock.acquire()
    except Timeout as error:
        raise Failure(
            "A window over {folder} is open already.",
            "Use that one, or choose another --home.",
            folder=studio.home.root,
        ) from error
    except OSError as error:  # a home that can only be read is shown all the same
        words = say("{file} can't be locked ({why}): a second window would not be noticed.",
                    file=lock.lock_file, why=why(error))  # fmt: skip
        print(words, file=sys.stderr, flush=True)
    try:
        yield
    finally:
        lock.release()


def _tell_launcher(studio: Studio, port: int) -> None:
    """Write down where the page is, so that a second start opens it; a home that can't hold that is shown all the same."""
    file = running_file(studio.home)
    try:
        if file.is_dir():
            set_aside(file)
        write_private(file, json.dumps({"port": port, "pid": os.getpid()}))
    except (AtelierError, OSError) as error:
        print(say_error(error), file=sys.stderr, flush=True)


def _free_port(chosen: int | None, address: str) -> int:
    if chosen is not None:
        if not _is_free(chosen, address):
            raise BadInput(
                "Port {port} is in use by another program.",
                "Choose another --port, or none: a free one is found.",
                port=chosen,
            )
        return chosen
    for port in range(FIRST_PORT, FIRST_PORT + PORTS_TRIED):
        if _is_free(port, address):
            return port
    raise Failure(
        "All ports from {first} to {last} are in use.",
        "Choose a --port.",
        first=FIRST_PORT,
        last=FIRST_PORT + PORTS_TRIED - 1,
    )


def _is_free(port: int, address: str) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        if os.name != "nt":  # on Windows this option would let us share a port that is in use
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True
