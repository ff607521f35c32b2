"""The page in a window of its own, by pywebview, where that is installed."""

from __future__ import annotations

import signal
import sys
import threading
from importlib.util import find_spec
from typing import Any

from styles.errors import BadInput

SIZE_PX, SMALLEST_PX = (1320, 900), (820, 600)


def refuse_without_webview() -> None:
    """Raise BadInput where pywebview is not installed; nothing heavy is loaded to find out."""
    if find_spec("webview") is None:
        raise BadInput(
            "A window of its own needs pywebview, which is not installed.",
            f"Install it with `{sys.executable} -m pip install pywebview`, or leave --window out.",
        )


def show_natively(url: str, ended: threading.Event) -> None:
    """Show the page until its window is closed, or a signal sets `ended`; called in the main thread."""
    import webview

    # Without this a click on Export or on a picture's download does nothing.
    webview.settings["ALLOW_DOWNLOADS"] = True
    webview.settings["OPEN_EXTERNAL_LINKS_IN_BROWSER"] = True
    window = webview.create_window(
        "Atelier", url, width=SIZE_PX[0], height=SIZE_PX[1], min_size=SMALLEST_PX, text_select=True
    )
    end_at_signal(ended)
    threading.Thread(target=_close_with, args=(window, ended), daemon=True).start()
    webview.start(private_mode=False)  # else what the page keeps for itself would be gone with the window


def _close_with(window: Any, ended: threading.Event) -> None:
    ended.wait()
    window.destroy()


def end_at_signal(ended: threading.Event) -> None:
    """Set `ended` at a termination signal."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: ended.set())
