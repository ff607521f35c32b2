"""A bill of materials: `python -m app.setup.bom` prints what set-up installs, as CycloneDX 1.6.

From the lock file, so the same everywhere but for licences, which the installed packages say themselves.
https://cyclonedx.org/docs/1.6/json/
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Any

from app.report import licence_of
from app.setup.lock import LOCKS, LockedPackage, locked_packages
from app.setup.torch_choice import TORCH_VERSION
from styles.storage.version import version

ROOT = Path(__file__).resolve().parents[2]


def bill_of_materials() -> dict[str, Any]:
    """The bill as one JSON object. The libraries of CUDA are torch's own dependencies and not listed."""
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "name": "Atelier",
                "version": version(),
                "licenses": [{"license": {"id": "Apache-2.0"}}],
            }
        },
        "components": [
            *(_component(package) for package in _packages()),
            *(_component(package) | {"scope": "optional"} for package in locked_packages(ROOT / LOCKS[1])),
        ],
    }


def _packages() -> Iterator[LockedPackage]:
    yield from locked_packages(ROOT / LOCKS[0])
    yield LockedPackage("torch", TORCH_VERSION, "", ())


def _component(package: LockedPackage) -> dict[str, Any]:
    url = f"pkg:pypi/{package.name}@{package.version}"
    component: dict[str, Any] = {
        "type": "library",
        "bom-ref": url,
        "name": package.name,
        "version": package.version,
        "purl": url,
    }
    try:
        stated = metadata(package.name).json
    except PackageNotFoundError:  # of another system or Python
        return component
    if expression := stated.get("license_expression"):
        component["licenses"] = [{"expression": expression}]
    elif licence := licence_of(stated):
        component["licenses"] = [{"license": {"name": licence}}]
    return component


if __name__ == "__main__":
    print(json.dumps(bill_of_materials(), indent=1))
