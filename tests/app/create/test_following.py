"""A mix whose styles were made anew, renamed, deleted or brought back since: on the page, in blends, in recipes."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from app.create.advice import Advice
from app.create.form import CreateForm, first_form, recalled, recalled_words
from app.create.mix_form import MixForm, MixRow
from app.create.mix_orders import MixOrder
from app.create.mixing import mix_of
from app.create.recipe_styles import blend_again
from app.create.style_choices import choice
from app.orders import PictureOrder
from app.studio import Studio
from styles.errors import UnknownStyleError
from styles.formats.safetensors_header import header_bytes, split_file
from styles.formats.style import StyleCard
from styles.generation.recipe import Recipe
from styles.library.missing import find_style
from styles.mixing.blend import Blend, BlendPart
from styles.storage.home import Home
from tests.app.mixing import home_for_mixing


@pytest.fixture
def studio(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Studio:
    """A studio with the styles Ink, Oil and Anti, which is Ink's opposite."""
    return Studio(Home(home_for_mixing(tmp_path_factory.mktemp("following") / "home", tiny_base)))


@pytest.fixture
def mix(studio: Studio) -> MixForm:
    """Ink at 0.7 with Oil at 0.4, as the page holds it."""
    cards = [studio.library.find(name) for name in ("Ink", "Oil")]
    return MixForm(
        tuple(
            MixRow(BlendPart(card.id, weight), name=card.name)
            for card, weight in zip(cards, (0.7, 0.4), strict=True)
        )
    )


def made_anew(studio: Studio, name: str) -> StyleCard:
    """Put another style into the place of one, as *Keep this* does: it takes over the name, the old one is deleted."""
    library = studio.library
    before, other = library.find(name), library.open("Anti")
    added = library.add(
        replace(other, layers=tuple(replace(layer, up=layer.up * 0.5) for layer in other.layers))
    )
    library.delete(library.handle(before))
    library.rename(library.handle(added), name)
    return library.edit(name, trigger="ink")


def weights(order: MixOrder) -> dict[str, float]:
    return {part.style: part.weight for part in order.start.parts}


def test_a_mix_follows_a_style_that_was_made_anew(studio: Studio, mix: MixForm) -> None:
    old, oil = mix.rows[0].style, mix.rows[1].style
    studio.blends.save("Dusk", mix.blend)
    new = made_anew(studio, "Ink")
    order = CreateForm("a boat", mix=MixForm.from_json(mix.to_json())).order(studio)
    assert weights(order.mix) == {new.id: 0.7, oil: 0.4} and order.prompt == "ink, oil, a boat"
    assert any("“Ink” is here in another version" in note for note in order.mix.notes)
    told = choice(studio, old, "Ink")
    assert told["id"] == new.id and told["name"] == "Ink" and "another version" in told["note"]
    assert choice(studio, new.id, "Ink")["note"] == ""
    assert Advice(studio).tell(mix)["here"] == {old: [new.id, "Ink"], oil: [oil, "Oil"]}
    strip = CreateForm(mix=mix).sheet(studio, "strength strip", old)
    assert strip.sheet is not None and strip.sheet.styles == (new.id,)
    started = studio.blends.started("Dusk")
    assert weights(started) == {new.id: 0.7, oil: 0.4} and "another version" in " ".join(started.notes)
    done = recalled(studio, Recipe("ink, a boat", blend=mix.blend, style_names=((old, "Ink"),)))
    assert done.missing == () and [row.style for row in done.form.mix.rows] == [new.id, oil]
    assert "another version" in recalled_words(done)
    # Both versions at once are one.
    both = MixForm((mix.rows[0], MixRow(BlendPart(new.id, 0.1), name="Ink")))
    assert weights(CreateForm(mix=both).order(studio).mix) == {new.id: 0.7}


def test_a_stranger_s_style_of_the_same_name_does_not_come_into_a_blend(studio: Studio, mix: MixForm) -> None:
    studio.library.edit("Ink", author="Ada")
    studio.blends.save("Dusk", mix.blend)
    made_anew(studio, "Ink")
    with pytest.raises(UnknownStyleError, match="“Ink”"):
        studio.blends.started("Dusk")


def test_a_style_that_is_deleted_is_named_left_out_and_had_back(studio: Studio, mix: MixForm) -> None:
    ink, oil = mix.rows[0].style, mix.rows[1].style
    library, form = studio.library, CreateForm("a boat", mix=mix)
    library.delete("Ink")
    order = form.order(studio)
    assert weights(order.mix) == {oil: 0.4} and order.prompt == "oil, a boat"
    assert order.mix.notes == ("“Ink” is not in your library: the picture is without it.",)
    for name in ("Ink", ""):  # a form that was kept by an older version knows no names
        told = choice(studio, ink, name)
        assert (told["id"], told["name"], told["deleted"]) == (ink, "Ink", True) and "trash" in told[
            "missing"
        ]
    facts = Advice(studio).tell(mix)
    assert list(facts["here"]) == [oil] and facts["hints"] == []
    assert CreateForm(mix=MixForm(mix.rows[:1])).order(studio).mix.start == Blend()
    solo = MixForm((replace(mix.rows[0], part=replace(mix.rows[0].part, solo=True)), mix.rows[1]))
    assert CreateForm("a boat", mix=solo).order(studio).prompt == "oil, a boat"
    for raises in (
        lambda: form.sheet(studio, "strength strip", ink),
        lambda: mix_of(MixOrder(start=mix.blend), library),
        lambda: blend_again(Recipe("", blend=mix.blend), studio.library),
    ):
        with pytest.raises(UnknownStyleError, match="“Ink” is in the trash") as told_error:
            raises()
        assert ink not in str(told_error.value)
    # A blend that is kept meanwhile names it all the same.
    studio.blends.save("Dusk", mix.blend, {row.style: row.name for row in mix.rows})
    assert {style.name for style in studio.blends.find("Dusk").styles} == {"Ink", "Oil"}
    # Another one of its name was deleted later: its id tells which is meant.
    other = library.open("Anti")
    library.add(replace(other, card=replace(other.card, name="Ink")))
    library.delete("Ink")
    assert library.restore(ink).id == ink
    assert weights(form.order(studio).mix) == {ink: 0.7, oil: 0.4} and form.order(studio).mix.notes == ()
    with pytest.raises(UnknownStyleError, match="no deleted style whose id begins with ffffffffffff\\."):
        library.restore("f" * 64)


def test_a_renamed_style_is_the_same(studio: Studio, mix: MixForm) -> None:
    ink = mix.rows[0].style
    studio.library.rename("Ink", "Ink wash")
    assert choice(studio, ink, "Ink")["name"] == "Ink wash"
    order = CreateForm(mix=mix).order(studio)
    assert order.mix.notes == () and ink in weights(order.mix)
    assert Advice(studio).tell(mix)["here"][ink] == [ink, "Ink wash"]


def test_a_bundled_style_that_was_hidden_comes_back_by_its_id(tmp_path: Path) -> None:
    studio = Studio(Home(tmp_path / "home"))
    row = first_form(studio).mix.rows[0]
    studio.library.delete(row.name)
    told = choice(studio, row.style)
    assert told["name"] == row.name and told["deleted"]
    assert studio.library.restore(row.style).name == row.name and "missing" not in choice(studio, row.style)


def test_words_of_styles_that_a_recipe_did_not_hear_come_with_them(studio: Studio, mix: MixForm) -> None:
    ink, oil = mix.rows
    muted = Blend((replace(ink.part, muted=True), oil.part))
    form = recalled(studio, Recipe("oil, a boat", blend=muted)).form
    rows = tuple(replace(row, part=replace(row.part, muted=False)) for row in form.mix.rows)
    loud = replace(form, mix=replace(form.mix, rows=rows)).order(studio)
    assert sorted(loud.prompt.split(", ")) == ["a boat", "ink", "oil"]
    # What the artist had left out stays out, also when another style comes in.
    form = recalled(studio, Recipe("a boat", blend=Blend((ink.part,)))).form
    more = replace(form, mix=replace(form.mix, rows=(*form.mix.rows, oil))).order(studio)
    assert more.prompt == "oil, a boat"


def test_words_of_styles_that_come_to_a_recipe_on_the_command_line(studio: Studio, mix: MixForm) -> None:
    ink, oil = mix.rows
    quiet = Recipe("a boat", blend=Blend((ink.part, replace(oil.part, muted=True))))

    def worded(order: PictureOrder) -> set[str]:
        assert order.add_triggers
        return {part.style for part in order.mix.start.parts if part.style not in order.left_out}

    order = studio.order_like(quiet, PictureOrder("", mix=MixOrder(solo=("Oil",))))
    assert worded(order) == {oil.style}, "what was silent comes with its word, what was left out without"
    assert studio.order_like(replace(quiet, prompt="ink, a boat"), PictureOrder("")).left_out == frozenset()


def test_a_picture_finds_a_style_by_the_hash_that_its_file_claims_else_by_its_name_and_says_so(
    studio: Studio,
) -> None:
    """A1111 names a style by the beginning of what its file claims: LyCORIS' claims begin with 0x, and are no hash of it."""
    path = studio.library.find("Ink").path
    assert path is not None
    header, section = split_file(path.read_bytes())
    metadata = {"sshs_model_hash": "0x" + "ab12" * 16}
    foreign = path.with_name("Wet Łódź.safetensors")
    data = section[:-1] + bytes([section[-1] ^ 1])
    header.pop("__metadata__")
    foreign.write_bytes(header_bytes(header, metadata) + data)
    card = studio.library.find("Wet Łódź")
    for style, name, by_name in (
        ("0xab12ab12ab", "x", False),
        ("ab12ab12ab12", "x", False),
        ("0x" + card.id[:10], "x", False),
        ("0x" + "cd34" * 16, "Wet_Lodz", True),
        ("cd34cd34cd34", "Wet_Łódź", True),
        ("cd34cd34", "wet łódź", True),
        ("Wet_Lodz", "", False),
    ):
        recipe = Recipe("cat", blend=Blend((BlendPart(style, 0.5),)), style_names=((style, name),))
        done = recalled(studio, recipe)
        assert not done.missing and [row.style for row in done.form.mix.rows] == [card.id], style
        notes = [note for note in done.notes if "found by its name" in note]
        assert bool(notes) is by_name and all(style in note for note in notes)
        again = blend_again(recipe, studio.library)
        assert [part.style for part in again.parts] == [card.id]
        assert bool(choice(studio, style, name)["note"]) is by_name
    # A whole hash without a sign before it is an id, of which only the very same style is the picture's.
    recipe = Recipe("cat", blend=Blend((BlendPart("ab12" * 16, 0.5),)))
    assert recalled(studio, recipe).missing
    with pytest.raises(UnknownStyleError):
        blend_again(recipe, studio.library)


def test_a_claim_that_many_files_share_names_none_of_them(studio: Studio) -> None:
    """ai-toolkit claimed the hash of nothing in each of its files; OneTrainer writes its own in capitals."""
    path = studio.library.find("Ink").path
    assert path is not None
    header, section = split_file(path.read_bytes())
    header.pop("__metadata__")
    nothing = hashlib.sha256(b"").hexdigest()
    for number, (name, claim) in enumerate((("Theirs", nothing), ("Capitals", "0x" + "AB12" * 16)), 1):
        data = section[:-1] + bytes([section[-1] ^ number])
        path.with_name(f"{name}.safetensors").write_bytes(
            header_bytes(header, {"sshs_model_hash": claim}) + data
        )
    for style, name, found in (
        (nothing[:12], "Another", ""),
        (nothing[:12], "theirs", "Theirs"),
        ("AB12AB12AB12", "x", "Capitals"),
    ):
        here = find_style(studio.library, style, name)
        assert (here.card.name if here else "") == found
