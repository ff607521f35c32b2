"""The starter's school book is always the same one, and keeps the exam and the held-out hands out of it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from training.starter.captions import caption, words
from training.starter.drawings import draw_all, kept_back, read_drawn, sample
from training.starter.hands import HANDS, HELD_OUT, TAUGHT, TONED, draw
from training.starter.scenes import BACKGROUNDS, COLOURS, SUBJECTS, sample_scene

NUMBERS = range(2000)


def test_there_is_enough_to_learn() -> None:
    assert len(SUBJECTS) >= 20
    assert len(COLOURS) == 10
    assert len(BACKGROUNDS) == 8
    assert len(HANDS) >= 24
    assert len(HELD_OUT) == 4


@pytest.mark.parametrize("hand", [*HANDS, *HELD_OUT, *list(TONED)[::7]])
def test_a_hand_draws_the_same_picture_again(hand: str) -> None:
    scene = sample_scene(np.random.default_rng(3), pair_share=0.0)
    picture = draw(scene, hand, 7)
    assert picture.shape == (128, 128, 3)
    assert picture.dtype == np.uint8
    assert np.array_equal(picture, draw(scene, hand, 7))
    if hand != "flat":
        assert np.abs(picture.astype(int) - draw(scene, "flat", 7)).mean() > 4


def test_a_number_is_always_the_same_drawing() -> None:
    for number in range(50):
        assert sample(number) == sample(number)
        assert sample(number, exam=True) == sample(number, exam=True)
    assert len({sample(number)[2] for number in range(50)}) == 50


def test_what_is_kept_back_for_the_exam_is_never_in_the_book() -> None:
    for number in NUMBERS:
        scene, hand, _ = sample(number)
        assert not kept_back(scene, hand)
        scene, hand, _ = sample(number, exam=True)
        assert kept_back(scene, hand)
        assert len(scene.subjects) == 1
        assert hand in HANDS


def test_the_book_shows_everything_but_the_held_out_hands() -> None:
    drawn = [sample(number) for number in NUMBERS]
    assert set(HANDS) <= {hand for _, hand, _ in drawn} <= set(TAUGHT)
    assert not set(TAUGHT) & set(HELD_OUT)
    assert {placed.subject for scene, _, _ in drawn for placed in scene.subjects} == set(SUBJECTS)
    assert {placed.colour for scene, _, _ in drawn for placed in scene.subjects} == set(COLOURS)
    assert {scene.background for scene, _, _ in drawn} == set(BACKGROUNDS)
    pairs = np.mean([len(scene.subjects) == 2 for scene, _, _ in drawn])
    assert 0.15 < pairs < 0.25
    assert 0.25 < np.mean([hand in TONED for _, hand, _ in drawn]) < 0.35
    named = [phrase for hand in TAUGHT.values() for phrase in (*hand.phrases, *hand.titles)]
    plain = [hand for _, hand, text in drawn if not any(phrase in text for phrase in named)]
    assert 0.15 < len(plain) / len(drawn) < 0.25 and set(plain) == {"flat"}


def test_no_caption_names_a_held_out_hand() -> None:
    for hand in HELD_OUT.values():
        assert not hand.phrases
        assert not hand.titles
    for hand in HELD_OUT:
        assert hand.split()[0] not in words()
    captions = " ".join(sample(number)[2] for number in NUMBERS)
    assert not re.search("|".join(HELD_OUT), captions)
    scene = sample_scene(np.random.default_rng(0))
    for hand in HELD_OUT:
        assert caption(scene, hand, None) == caption(scene, None, None)


def test_captions_say_what_is_shown_and_stay_short() -> None:
    known, bare = set(words()), 0
    for number in NUMBERS:
        scene, hand, text = sample(number)
        assert len(text.split()) <= 24
        assert text == text.lower()
        coloured = [f"{placed.colour} {placed.subject}" for placed in scene.subjects]
        named = [re.search(rf"\b{words}\b", text) is not None for words in coloured]
        assert all(re.search(rf"\b{placed.subject}\b", text) for placed in scene.subjects), text
        assert all(named) or not any(named), text
        bare += not any(named) and hand not in TONED
        unknown = [word for word in re.findall(r"[a-z']+", text) if word not in known]
        assert len(unknown) <= 2, text
        scene, _, text = sample(number, exam=True)
        assert f"{scene.subjects[0].colour} {scene.subjects[0].subject}" in text
    assert 0.05 < bare / len(NUMBERS) < 0.12


@pytest.mark.slow
def test_the_book_is_written_once_and_read_back(tmp_path: Path) -> None:
    draw_all(tmp_path, count=260, textures=4, workers=1)
    pictures, records = np.load(tmp_path / "drawings.npy"), read_drawn(tmp_path)
    assert len(pictures) == len(records) == 260
    assert np.load(tmp_path / "textures.npy").shape == (4, 128, 128, 3)
    for number in (0, 100, 259):
        scene, hand, text = sample(number)
        assert records[number].caption == text
        assert records[number].hand == hand
        assert records[number].background == scene.background
        assert records[number].subjects == tuple((p.subject, p.colour) for p in scene.subjects)
        assert np.array_equal(pictures[number], draw(scene, hand, number))
    before = (tmp_path / "drawings.npy").stat().st_mtime_ns
    draw_all(tmp_path, count=260, textures=4, workers=1)
    assert (tmp_path / "drawings.npy").stat().st_mtime_ns == before
