"""The artworks that come along with Atelier, for trying."""

from __future__ import annotations

from pathlib import Path

from styles.errors import BadInput

ARTWORKS = Path(__file__).resolve().parents[1] / "training" / "bundled"


def bundled_hands(folder: Path = ARTWORKS) -> list[Path]:
    """The folders of the bundled artworks, one for each hand; raises BadInput where there are fewer than two."""
    hands = sorted(path for path in folder.glob("*") if path.is_dir() and any(path.glob("*.png")))
    if len(hands) < 2:
        raise BadInput("The bundled artworks are missing in {folder}.", "Get Atelier again.", folder=folder)
    return hands[:2]
