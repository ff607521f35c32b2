"""The view of what others will see misses nothing, and knows what is private."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from styles.formats.metadata import card_texts, kohya_metadata, shown_metadata, written_card
from styles.formats.style import StyleCard
from styles.formats.thumbnail import public_thumbnail, thumbnail_jpeg, thumbnail_png
from styles.library.privacy_report import KINDS, PRIVATE, kind_of, shown_metadata_of
from styles.storage.names import tag_name


@settings(max_examples=80, deadline=None)
@given(metadata=st.dictionaries(st.text(max_size=20), st.text(max_size=60), max_size=8))
def test_every_entry_is_listed(metadata: dict[str, str]) -> None:
    rows = shown_metadata_of(metadata, "x.safetensors")
    assert len(rows) >= len(metadata)
    assert {row.kind for row in rows} <= set(KINDS)
    assert sum(row.length for row in rows if not row.key.startswith("atelier_card")) == sum(
        len(value) for key, value in metadata.items() if key != "atelier_card"
    )


def test_our_card_is_listed_entry_by_entry() -> None:
    card = StyleCard(
        "Ink", "sd1", 4, trigger="wet", rights="Mine.", tags=("ink", "wet"), training={"steps": 9, "seed": 3}
    )
    rows = shown_metadata_of(shown_metadata(written_card(card), "ab" * 32), "x")
    own = {
        row.key.removeprefix("atelier_card: "): row for row in rows if row.key.startswith("atelier_card: ")
    }
    assert {"name", "trigger", "rights", "tags", "training.steps", "training.seed"} <= own.keys()
    assert own["rights"].value == "Mine." and own["training.steps"].kind == "training"
    assert not any(row.private for row in rows)
    for broken in ("[" * 100_000, "{" * 10, '{"a":' * 900 + "1" + "}" * 900, "7", "{}"):
        assert shown_metadata_of({"atelier_card": broken}, "x")


@pytest.mark.parametrize(
    ("key", "value", "kind"),
    [
        ("ss_tag_frequency", "{}", "captions"),
        ("ss_datasets", "[]", "captions"),
        ("ss_dataset_dirs", "{}", "names"),
        ("ss_sd_model_name", "v1-5.safetensors", "names"),
        ("ss_sd_model_name", "owner/name", "card"),
        ("whatever", "C:\\Users\\ana\\pictures", "names"),
        ("whatever", 'in "/home/ana/pictures"', "names"),
        ("ss_training_started_at", "1700000000", "dates"),
        ("modelspec.date", "2026-01-02", "dates"),
        ("ss_learning_rate", "0.001", "training"),
        ("modelspec.thumbnail", "data:image/jpeg;base64,//home/", "picture"),
        ("sshs_model_hash", "ab", "file"),
        ("whatever", "words", "other"),
    ],
)
def test_what_is_private_is_known(key: str, value: str, kind: str) -> None:
    assert kind_of(key, value) == kind
    (row,) = shown_metadata_of({key: value}, "x")
    assert row.private == (kind in PRIVATE)


def test_tags_rights_and_statement_come_back() -> None:
    card = StyleCard("Ink", "sd1", 4, rights="I made the artworks myself.", tags=("ink, black", "wet"))
    metadata = kohya_metadata(card, 2.0) | shown_metadata(card, "ab" * 32)
    read = card_texts(metadata, "x")
    assert read["rights"] == card.rights and read["tags"] == card.tags
    assert metadata["modelspec.tags"] == "ink  black, wet"
    assert card_texts({"modelspec.tags": "a, b ,,c"}, "x")["tags"] == ("a", "b", "c")
    for bad in ("7", "{}", '{"tags": 3}', '{"tags": [1, {}, "a"]}'):
        assert set(card_texts({"atelier_card": bad}, "x")["tags"]) <= {"a"}


def test_a_trigger_is_guessed_from_counts_only_where_they_tell_it() -> None:
    def guessed(*folders: dict[str, int]) -> str:
        counts = {f"10_{number}": tags for number, tags in enumerate(folders)}
        return str(card_texts({"ss_tag_frequency": json.dumps(counts)}, "x")["trigger"])

    assert guessed({"ohwx": 12, "cat": 5, "dog": 7}, {"ohwx": 3, "cat": 3}) == "ohwx"
    assert guessed({"a photo of a cat": 1, "a dog": 1}) == ""
    assert guessed({"a": 5, "b": 5, "c": 5, "d": 5, "e": 1}) == ""
    known = {"modelspec.trigger_phrase": "mine", "ss_tag_frequency": '{"x": {"ohwx": 9, "cat": 1}}'}
    assert card_texts(known, "x")["trigger"] == "mine"
    for bad in (
        '{"a": 3}',
        "[]",
        '{"a": {"b": "x"}}',
        '{"a": {"b": 1e999}}',
        "[" * 100_000,
        '{"a": {"b": null}}',
    ):
        assert card_texts({"ss_tag_frequency": bad}, "x")["trigger"] == ""


@pytest.mark.parametrize("hidden", ["exif", "comment", "app12", "tail", "between", "jfif"])
def test_a_thumbnail_holds_pixels_and_nothing_else(hidden: str) -> None:
    plain = thumbnail_jpeg(Image.effect_noise((256, 256), 60).convert("RGB"))
    assert public_thumbnail(plain) == plain
    exif = Image.Exif()
    exif[0x010E] = "SECRET"
    out = io.BytesIO()
    Image.open(io.BytesIO(plain)).save(out, "JPEG", exif=exif)
    segment = b"\x00\x08SECRET"
    scan = plain.index(b"\xff\xda")
    data = {
        "exif": out.getvalue(),
        "comment": plain[:2] + b"\xff\xfe" + segment + plain[2:],
        "app12": plain[:2] + b"\xff\xec" + segment + plain[2:],
        "tail": plain + b"SECRET",
        "between": plain[:-2] + b"\xff\xfe" + segment + plain[-2:],
        "jfif": plain[:2] + b"\xff\xe0\x00\x16" + plain[6:20] + b"SECRET" + plain[20:],
    }[hidden]
    assert b"SECRET" in data and scan
    clean = public_thumbnail(data)
    assert clean is not None and b"SECRET" not in clean
    png = thumbnail_png(clean)
    with Image.open(io.BytesIO(png)) as image:
        assert image.size == (256, 256) and not image.info and b"SECRET" not in png


@settings(max_examples=200, deadline=None)
@given(name=st.text(max_size=120))
def test_a_tag_name_stands_in_every_prompt(name: str) -> None:
    tag = tag_name(name)
    assert tag and set(tag) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
    assert tag[0] not in ".-" and tag[-1] not in ".-" and ".." not in tag and len(tag) <= 83
    assert tag_name(tag) == tag


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        ("Cats & Ink 墨", "Cats_Ink"),
        ("Straße Łódź", "Strasse_Lodz"),
        ("墨", "style"),
        ("none", "my_none"),
        ("con", "my_con"),
    ],
)
def test_tag_names_are_near_the_name(name: str, tag: str) -> None:
    assert tag_name(name) == tag
