"""The lock files: what the requirements allow, all that it needs, and nothing that can't be checked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import distribution

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from app.setup.lock import LOCKS, RANGES, WITH_TORCH, LockedPackage, locked_packages
from app.setup.pip import requirement_lines
from tests.conftest import REPOSITORY

PACKAGES = [package for file in LOCKS for package in locked_packages(REPOSITORY / file)]


def locked_here(name: str) -> LockedPackage | None:
    """What is locked of that package for this Python on this system."""
    fits = (package for package in PACKAGES if package.name == canonicalize_name(name))
    return next(
        (package for package in fits if not package.marker or Marker(package.marker).evaluate()), None
    )


def needs(requirement: Requirement, seen: set[tuple[str, str]]) -> Iterator[Requirement]:
    """That requirement and what it needs here in turn, as the installed packages say themselves."""
    yield requirement
    for extra in {"", *requirement.extras} - {extra for name, extra in seen if name == requirement.name}:
        seen.add((requirement.name, extra))
        for line in distribution(requirement.name).requires or []:
            further = Requirement(line)
            if further.marker is None or further.marker.evaluate({"extra": extra}):
                yield from needs(further, seen)


@pytest.mark.parametrize("file", RANGES)
def test_all_that_the_requirements_need_is_locked_and_is_what_runs_here(file: str) -> None:
    seen: set[tuple[str, str]] = set()
    for line in requirement_lines(REPOSITORY / file):
        for requirement in needs(Requirement(line), seen):
            if WITH_TORCH.match(f"{requirement.name}=="):
                continue
            package = locked_here(requirement.name)
            assert package is not None, f"{requirement.name}: run `python -m app.setup.lock`"
            assert requirement.specifier.contains(package.version, prereleases=True), requirement
            installed = distribution(requirement.name).version
            assert installed == package.version, f"{requirement.name}: run `python launch.py test`"


@pytest.mark.parametrize("file", LOCKS)
def test_every_locked_package_has_hashes_and_none_says_where_it_comes_from(file: str) -> None:
    packages = list(locked_packages(REPOSITORY / file))
    assert packages and not any(WITH_TORCH.match(f"{package.name}==") for package in packages)
    for package in packages:
        assert package.hashes and all(re.fullmatch(r"sha256:[0-9a-f]{64}", one) for one in package.hashes)
    assert "://" not in (REPOSITORY / file).read_text(encoding="utf-8")
