"""Having the draft's artworks described by a captioner on this machine, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from app.train.draft import Draft
from app.train.runner import answering_process
from styles.errors import AtelierError, BadInput, JobError
from styles.storage.home import Home
from styles.text import NO_TEXT, Text, text_from_json
from training.artworks.captioner import Captioner, captioners


@dataclass(frozen=True)
class Described:
    """How far the describing is."""

    running: bool = False
    done: int = 0
    total: int = 0
    problem: Text = NO_TEXT  # why it ended early, in a sentence


class Captioning:
    """Describes what has no caption yet; one captioner at a time."""

    def __init__(self, home: Home, draft: Draft, device: Callable[[], str] = lambda: "auto") -> None:
        self.home = home
        self.draft = draft
        self._device = device
        self._found: list[Captioner] | None = None
        self._process: subprocess.Popen[str] | None = None
        self._thread: threading.Thread | None = None
        self.progress = Described()

    def available(self, *, again: bool = False) -> list[Captioner]:
        """The captioners on this machine; looked for once, or `again`."""
        if self._found is None or again:
            self._found = captioners(self.home)
        return self._found

    def start(self, name: str = "") -> None:
        """Describe every artwork without a caption, with the captioner of that name or the first; raises BadInput."""
        if self.progress.running:
            raise JobError(
                "The artworks are being described already.", "Wait until that is done, or stop it."
            )
        matches = [one for one in self.available(again=True) if name in ("", one.name)]
        if not matches:
            raise BadInput(
                "There is no captioning model on this machine.", "Write the captions, or leave them."
            )
        captioned = {path.stem for path in self.draft.artworks_folder.glob("*.txt")}
        pictures = [path for path in self.draft.paths() if path.stem not in captioned]
        if not pictures:
            raise BadInput("Every artwork has a caption.", "Remove those that are to be written anew.")
        self._process = answering_process(
            "training.artworks.captioner",
            "--device",
            self._device(),
            str(matches[0].folder),
            *map(str, pictures),
        )
        self.progress = Described(True, 0, len(pictures))
        self._thread = threading.Thread(
            target=self._take, args=(self._process,), name="captions", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """End the describing; the captions that are written stay."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
        if self._thread is not None:
            self._thread.join()

    def _take(self, process: subprocess.Popen[str]) -> None:
        """Put each caption beside its picture as it comes."""
        problem = NO_TEXT
        assert process.stdout is not None
        try:
            with process.stdout:
                for line in process.stdout:
                    answer = json.loads(line)
                    problem = text_from_json(answer.get("error", ""))
                    if not problem:
                        self.draft.caption_missing(Path(answer["picture"]).name, answer["caption"])
                        self.progress = replace(self.progress, done=self.progress.done + 1)
        except (AtelierError, OSError, ValueError, KeyError) as error:
            process.kill()
            problem = Text.as_it_is(str(error))
        code = process.wait()
        if code and not problem and self._process is process:  # else it was stopped
            problem = Text("The captioner ended without a word (exit code {code}).", code=code)
        self.progress = replace(self.progress, running=False, problem=problem)
