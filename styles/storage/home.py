"""Where the artist's own files live: plain folders that a person can open and copy."""

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from styles.errors import AtelierError, BadInput
from styles.text import Text


def expanded(path: str | Path) -> Path:
    """Return a path with the home folder in place of a leading `~`.

    Left as it is where that names no user: a file may be called `~draft.png`, and pathlib would raise RuntimeError.
    """
    return Path(os.path.expanduser(path))


@dataclass(frozen=True)
class Home:
    """The folder that holds everything of one artist."""

    root: Path

    @classmethod
    def default(cls, env: Mapping[str, str] | None = None) -> "Home":
        """Return the home that `ATELIER_HOME` names, else `~/Atelier`; absolute, as the working folder may change."""
        chosen = (os.environ if env is None else env).get("ATELIER_HOME", "").strip()
        return cls(expanded(chosen).absolute() if chosen else Path.home() / "Atelier")

    @property
    def styles(self) -> Path:
        return self.root / "styles"

    @property
    def pictures(self) -> Path:
        return self.root / "pictures"

    @property
    def jobs(self) -> Path:
        return self.root / "jobs"

    @property
    def bases(self) -> Path:
        return self.root / "bases"

    @property
    def trash(self) -> Path:
        return self.root / "trash"

    @property
    def log(self) -> Path:
        return self.root / "log"

    def create(self) -> "Home":
        """Make the folders that are missing, for this user alone; raises BadInput where there can be no home.

        A folder that is there keeps its rights: it may be one that people share, such as /tmp. What is wrong with a
        single one of the home's folders is said by `problems`: the others can be used.
        """
        try:
            self.root.parent.mkdir(parents=True, exist_ok=True)
            self.root.mkdir(mode=0o700, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise BadInput(
                "{folder} can't be a folder: a file of that name is in the way.",
                "Choose another home with --home, or move that file.",
                folder=self.root,
            ) from error
        except OSError as error:
            raise BadInput(
                "{folder} can't be made: {reason}.",
                "Choose another home with --home.",
                folder=self.root,
                reason=error.strerror,
            ) from error
        for folder in self._folders:
            with suppress(OSError):
                folder.mkdir(mode=0o700, exist_ok=True)
        return self

    def problems(self) -> list[AtelierError]:
        """Return what is wrong with the folders, each with what to do."""
        problems: list[AtelierError] = []
        if not os.access(self.root, os.W_OK):
            problems.append(
                BadInput(
                    "{folder} can't be written to.", "Allow it, or nothing new is kept.", folder=self.root
                )
            )
        for folder in self._folders:
            try:
                os.listdir(folder)
            except NotADirectoryError:
                hint = Text(
                    "Move it away; what belongs into that folder is neither shown nor kept until then."
                )
                problems.append(
                    BadInput("{folder} is a file, where a folder is needed.", hint, folder=folder)
                )
            except OSError as error:
                hint = Text("Allow reading and writing it; what lies there is not shown until then.")
                problems.append(
                    BadInput(
                        "{folder} can't be looked into: {reason}.", hint, folder=folder, reason=error.strerror
                    )
                )
        return problems

    @property
    def _folders(self) -> tuple[Path, ...]:
        return self.styles, self.pictures, self.jobs, self.bases, self.trash, self.log
