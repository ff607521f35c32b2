"""The page in a window of its own, by pywebview, where that is installed."""

from __future__ import annotations

import base64
import signal
import sys
import threading
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path, PurePath
from typing import Any

from app.i18n import say_error
from styles.errors import AtelierError, BadInput
from styles.storage.atomic import check_folder, replacing
from styles.storage.names import clean_text

SIZE_PX, SMALLEST_PX = (1320, 900), (820, 600)
LONGEST_NAME = 200  # characters
# Each system's web view downloads in a way of its own, and one of them not at all: what a link would download is given
# to `save` instead, as bytes in base64.
SAVING_JS = """(() => {
    if (window.atelierSaves) return;
    window.atelierSaves = true;
    const given = (data) => new Promise((done, failed) => {
        const reader = new FileReader();
        reader.onload = () => done(reader.result.slice(reader.result.indexOf(",") + 1));
        reader.onerror = failed;
        reader.readAsDataURL(data);
    });
    const save = async (link) => {
        const answer = await fetch(link.href).catch(() => null);
        const content = answer?.ok ? await given(await answer.blob()) : "";
        const problem = await window.pywebview.api.save(link.download, content).catch(String);
        if (problem) alert(problem);
    };
    const click = HTMLAnchorElement.prototype.click;
    HTMLAnchorElement.prototype.click = function () {  // of a link that is nowhere on the page
        if (this.hasAttribute("download") && !this.isConnected) save(this);
        else click.call(this);
    };
    document.addEventListener("click", (event) => {
        const link = event.target.closest?.("a[download]");
        if (!link) return;
        event.preventDefault();
        save(link);
    }, true);
})()"""


def refuse_without_webview() -> None:
    """Raise BadInput where pywebview is not installed; nothing heavy is loaded to find out."""
    if find_spec("webview") is None:
        raise BadInput(
            "A window of its own needs pywebview, which is not installed.",
            "Install it with `{python} -m pip install pywebview`, or leave --window out.",
            python=sys.executable,
        )


def show_natively(url: str, ended: threading.Event) -> None:
    """Show the page until its window is closed, or a signal sets `ended`; called in the main thread."""
    import webview

    webview.settings["OPEN_EXTERNAL_LINKS_IN_BROWSER"] = True
    window = webview.create_window(
        "Atelier", url, width=SIZE_PX[0], height=SIZE_PX[1], min_size=SMALLEST_PX, text_select=True
    )

    def choose(name: str) -> str | None:
        chosen = window.create_file_dialog(
            webview.FileDialog.SAVE, directory=str(downloads()), save_filename=name
        )
        return chosen if isinstance(chosen, str) else next(iter(chosen or ()), None)

    def save(name: str, content: str) -> str:
        return save_as(choose, name, content)

    window.expose(save)
    window.events.loaded += lambda: window.evaluate_js(SAVING_JS)
    end_at_signal(ended)
    threading.Thread(target=_close_with, args=(window, ended), daemon=True).start()
    webview.start(private_mode=False)  # else what the page keeps for itself would be gone with the window


def downloads() -> Path:
    """The folder that a file is first offered to be saved in."""
    folder = Path.home() / "Downloads"
    return folder if folder.is_dir() else Path.home()


def save_as(choose: Callable[[str], str | None], name: str, content: str) -> str:
    """Write what the page gave, in base64, where the artist chooses to have it, or nowhere; returns what went wrong."""
    offered = PurePath(clean_text(name, LONGEST_NAME).replace("\\", "/")).name or "atelier"
    try:
        if not content:
            raise BadInput(
                "There is nothing in {package}.", "Load the page again, and try once more.", package=offered
            )
        if chosen := choose(offered):
            check_folder(Path(chosen).parent)
            with replacing(Path(chosen)) as path:
                path.write_bytes(base64.b64decode(content))
    except AtelierError as error:
        return say_error(error)
    return ""


def _close_with(window: Any, ended: threading.Event) -> None:
    ended.wait()
    window.destroy()


def end_at_signal(ended: threading.Event) -> None:
    """Set `ended` at a termination signal, and when the terminal is closed."""
    if threading.current_thread() is not threading.main_thread():
        return
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    hangup = getattr(signal, "SIGHUP", None)  # Windows has none
    if hangup and signal.getsignal(hangup) != signal.SIG_IGN:  # as `nohup` wants it
        signal.signal(hangup, lambda *_: ended.set())
