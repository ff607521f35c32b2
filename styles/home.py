"""Where the artist's own files live: plain folders that a person can open and copy."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from styles.atomic import telling
from styles.errors import BadInput


@dataclass(frozen=True)
class Home:
    """The folder that holds everything of one artist."""

    root: Path

    @classmethod
    def default(cls, env: Mapping[str, str] | None = None) -> "Home":
        """Return the home that `ATELIER_HOME` names, else `~/Atelier`; absolute, as the working folder may change."""
        chosen = (os.environ if env is None else env).get("ATELIER_HOME", "").strip()
        return cls(Path(chosen).expanduser().absolute() if chosen else Path.home() / "Atelier")

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
        """Make the folders that are missing, for this user alone; raises BadInput where that is not allowed.

        A folder that is there keeps its rights: it may be one that people share, such as /tmp.
        """
        for folder in (self.root, self.styles, self.pictures, self.jobs, self.bases, self.trash, self.log):
            try:
                with telling(folder):
                    folder.parent.mkdir(parents=True, exist_ok=True)
                    folder.mkdir(mode=0o700, exist_ok=True)
            except (FileExistsError, NotADirectoryError) as error:
                raise BadInput(
                    f"{folder} can't be a folder: a file of that name is in the way.",
                    "Choose another home with --home, or move that file.",
                ) from error
            except OSError as error:
                raise BadInput(
                    f"{folder} can't be made: {error.strerror}.", "Choose another home with --home."
                ) from error
        return self
