"""The map of the house names files that are there."""

from __future__ import annotations

import re

from tests.conftest import REPOSITORY

FILE = re.compile(r"`([\w./-]+(?:\.\w+|/))`")


def test_every_file_that_the_map_names_is_there() -> None:
    text = (REPOSITORY / ".github" / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert len(rows) > 10
    for row in rows:
        places, _, rest = row.strip("| ").partition("|")
        folders = [REPOSITORY / name for name in re.findall(r"`([\w./]+)`", places)]
        assert all(folder.exists() for folder in folders), places
        for name in FILE.findall(rest):
            assert any((folder / name).exists() for folder in [*folders, REPOSITORY]), f"{places}: {name}"


def test_every_path_that_the_documents_name_is_there() -> None:
    documents = ("CONTRIBUTING", "CHANGELOG", "SECURITY", "MIXING", "STYLES_OF_OTHERS")
    for document in ("README.md", *(f".github/{name}.md" for name in documents)):
        text = (REPOSITORY / document).read_text(encoding="utf-8")
        for path in re.findall(r"`((?:app|training|styles|tests)/[\w./-]+)`", text):
            real = path.replace("/CODE/", "/es/")  # stands for any language
            assert (REPOSITORY / real).exists(), f"{document}: {path}"
        for path in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
            assert (REPOSITORY / document).parent.joinpath(path).exists(), f"{document}: {path}"


def test_the_reports_that_were_tried_are_those_of_the_document() -> None:
    from tests.styles.formats.test_public_reports import OPENED, REFUSED

    text = (REPOSITORY / ".github" / "STYLES_OF_OTHERS.md").read_text(encoding="utf-8")
    named = re.findall(r"\[([\w./-]+#\d+)\]\(https://github\.com/([\w./-]+)/issues/(\d+)\)", text)
    assert [report for report, *_ in named] == [*OPENED, *REFUSED]
    assert all(report == f"{place}#{number}" for report, place, number in named)
