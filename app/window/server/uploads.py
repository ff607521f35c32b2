"""Files that pages and scripts have sent: how much of them is kept at once, and how a page names one in what it asks."""

from __future__ import annotations

import math
import shutil
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from anyio.to_thread import run_sync
from gradio.route_utils import delete_files_created_by_app
from gradio.utils import get_upload_folder
from starlette.formparsers import MultiPartException

from app.disk import size_words
from app.i18n import say
from app.temporary import remove_old_exports
from app.window.server.routes import API
from styles.errors import BadInput
from training.leftovers import size_of

UPLOAD = f"{API}/upload"
MOST_BYTES = 16e9  # and at most half of what the disk has room for without them
FRESH_SECONDS = 60
UNUSED_SECONDS = 86400  # what is older goes where there is no room else


def uploaded(path: object) -> Path:
    """A path that a page names, which must be one of its uploads; raises BadInput."""
    file = Path(str(path)).resolve()
    if not file.is_relative_to(Path(get_upload_folder()).resolve()) or not file.is_file():
        raise BadInput("This file was not uploaded.", "Drop it again.")
    return file


class Room:
    """What a window's folder of temporary files can still take; all in it counts, exports and waiting styles too."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kept = 0  # bytes; what has gone since the last look is counted still
        self._coming = 0  # bytes of uploads that are on their way
        self._looked_at = -math.inf
        self._changing = threading.Lock()

    def take(self, size: int, page: Any) -> bool:
        """Take the room for an upload of `size` bytes; False where there is none.

        Where there is none else, what gradio keeps for `page` and nobody has sent or asked for lately is deleted.
        """
        with self._changing:
            if time.monotonic() - self._looked_at > FRESH_SECONDS or not self._fits(size):
                self._look()
            if not self._fits(size):
                remove_old_exports(self.folder)
                with suppress(OSError):  # Windows, while somebody reads one
                    delete_files_created_by_app(page, UNUSED_SECONDS)
                self._look()
            fits = self._fits(size)
            if fits:
                self.kept += size
                self._coming += size
            return fits

    def arrived(self, size: int) -> None:
        """Note that an upload has come to its end: what is there of it is seen at the next look."""
        with self._changing:
            self._coming -= size

    def _fits(self, size: int) -> bool:
        free = shutil.disk_usage(self.folder).free
        return self.kept + size <= min(MOST_BYTES, (self.kept + free) / 2)

    def _look(self) -> None:
        self.kept, self._looked_at = size_of(self.folder) + self._coming, time.monotonic()


class BoundUploads:
    """ASGI middleware that refuses an upload for which there is no room, before any of it is kept."""

    def __init__(self, app: Any, folder: Path) -> None:
        self.app = app
        self.room = Room(folder)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass the request on, an upload with its room taken."""
        if scope["type"] != "http" or scope["path"] != UPLOAD:
            await self.app(scope, receive, send)
            return
        length = dict(scope["headers"]).get(b"content-length", b"")
        if not length.isdigit():
            await _refuse(receive, send, 411, say("An upload has to say how large it is."))
        elif not await run_sync(self.room.take, int(length), scope["app"].get_blocks()):
            words = say(
                "There is no room for another upload: {size} are kept already. Import the styles that wait in the "
                "Library or leave them, or free some of the disk, and send it again.",
                size=size_words(self.room.kept),
            )
            await _refuse(receive, send, 507, words)
        else:
            try:
                await self.app(scope, whole(receive), send)
            finally:
                self.room.arrived(int(length))


def whole(receive: Any) -> Any:
    """Call an upload that is broken off a wrong one: of such gradio deletes what has come, of the others nothing."""
    complete = False

    async def received() -> Any:
        nonlocal complete
        message = await receive()
        if message["type"] == "http.disconnect" and not complete:
            raise MultiPartException("The upload was broken off.")
        complete = not message.get("more_body", False)
        return message

    return received


async def _refuse(receive: Any, send: Any, status: int, words: str) -> None:
    # All is taken, and kept nowhere: a browser that is still sending would see no answer.
    while (await receive()).get("more_body", False):
        pass
    body = words.encode("utf-8")
    about = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode("ascii")),
    ]
    await send({"type": "http.response.start", "status": status, "headers": about})
    await send({"type": "http.response.body", "body": body})
