"""Tags of styles in prompts, in all the forms that people paste."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from styles.generation.prompt_tags import MOST_TAGS, TAG, StyleTag, tidied, without_tags


@pytest.mark.parametrize(
    ("tag", "weight"),
    [
        ("<lora:ink>", 1), ("<lora:ink:0.8>", 0.8), ("<lora:ink:.8>", 0.8), ("<lora:ink:0,8>", 0.8), ("<lora:ink:-0.5>", -0.5),
        ("<LORA:ink: 0.8 >", 0.8), ("<lyco:ink:0.8>", 0.8), ("<lora:ink:te=0.8:unet=0.8>", 0.8), ("<lora:ink:unet=0,8>", 0.8),
        ("<lora:ink:0.8:0.8>", 0.8), ("&lt;lora:ink:0.8&gt;", 0.8), ("\\<lora:ink:0.8>", 0.8),
        ("<lora:ink.safetensors:0.8>", 0.8),
        # https://github.com/mcmonkeyprojects/SwarmUI/issues/500, https://github.com/edelvarden/comfyui_image_metadata_extension/issues/37
        ("<lora:illustrious/ink:0.8>", 0.8), ("<lora:folder\\ink:0.8>", 0.8),
    ],
)  # fmt: skip
def test_a_tag_in_any_form_is_a_style_and_its_weight(tag: str, weight: float) -> None:
    for prompt in (f"a fox {tag}", f"{tag} a fox", f"a {tag} fox", f"a{tag} fox"):
        tagged = without_tags(prompt)
        assert tagged.styles == (StyleTag("ink", weight),)
        assert tagged.prompt == "a fox" and tagged.notes in ((), without_tags(tag).notes)


@pytest.mark.parametrize(
    ("tag", "weight", "note"),
    [
        ("<lora:ink:0.5:0.8>", 0.8, "0.5 on the text encoder and 0.8 on the UNet"),
        ("<lora:ink:te=0,5:unet=0.8>", 0.8, "0.5 on the text encoder"),
        ("<lora:ink:te=0.2>", 0.2, ""),
        # https://github.com/hako-mikan/sd-webui-lora-block-weight/issues/78, /90 and /174
        ("<lora:ink:1:1:lbw=IN02>", 1, "lbw=IN02 is not taken over"),
        ("<lora:ink:1:lbw=1,0,0,0>", 1, "lbw=1,0,0,0 is not taken over"),
        ("<lora:ink:1:IN04-OUT05:ATTNON>", 1, "ATTNON, IN04-OUT05 is not taken over"),
        ("<lora:ink:0.8:0.8:32>", 0.8, "32 is not taken over"),
        # https://github.com/hako-mikan/sd-webui-lora-block-weight/issues/91
        ("<lora:ink:0.8:1,1,1,0>", 0.8, "1,1,1,0 is not taken over"),
        ('<lora:"ink":1:lbw=IN02>', 1, "lbw=IN02"),
    ],
)
def test_what_of_a_tag_is_not_taken_over_is_named(tag: str, weight: float, note: str) -> None:
    tagged = without_tags(f"a fox {tag}")
    assert tagged.prompt == "a fox" and tagged.styles == (StyleTag("ink", weight),)
    assert note in " ".join(tagged.notes)


@pytest.mark.parametrize(
    ("tag", "note"),
    [
        ("<hypernet:ink:0.8>", "the hypernetwork “ink”, which is not read"),
        # https://github.com/cheald/sd-webui-loractl/issues/1
        ("<lora:ink:0@0,0.5@0.5>", "The weight “0@0,0.5@0.5” of the style “ink” can't be used"),
        ("<lora:ink:much>", "The weight “much”"), ("<lora:ink:99>", "The weight “99”"), ("<lora:ink:nan>", "The weight “nan”"),
        ("<lora:ink:>", "The weight “” of"), ("<lora::1>", "names no style"), ("<lora:ink:0.8", "“<lora:ink:0.8” is no whole tag"),
    ],
)  # fmt: skip
def test_a_tag_that_can_t_be_used_is_named_and_no_word(tag: str, note: str) -> None:
    tagged = without_tags(f"a fox {tag}")
    assert tagged.prompt == "a fox" and tagged.styles == () and note in " ".join(tagged.notes)


def test_names_with_brackets_and_a_style_that_is_named_twice() -> None:
    """https://github.com/uwidev/sd_extension-prompt_formatter/issues/16, https://github.com/NON906/sd-webui-chatgpt/issues/10"""
    tagged = without_tags("a <lora:[XL]Bloodborne:1> b<lora:prettymg2:1.0><lora:prettymg2:0.5>")
    assert tagged.styles == (StyleTag("[XL]Bloodborne", 1), StyleTag("prettymg2", 1))
    assert tagged.prompt == "a b" and "“prettymg2” is named twice" in tagged.notes[0]


def test_tags_in_other_tags_names_of_any_script_and_lines_stay_apart() -> None:
    """https://github.com/Stability-AI/StableSwarmUI/issues/130, AUTOMATIC1111/…/issues/10326, easydiffusion/…/issues/1586"""
    tagged = without_tags(
        "<random: dwarf <lora:RPGDwarfXL:0.5>, half-orc>\n<lora:诡异服装:0.7> a <LoRA: perfect face>\nb"
    )
    assert tagged.styles == (
        StyleTag("RPGDwarfXL", 0.5),
        StyleTag("诡异服装", 0.7),
        StyleTag("perfect face", 1),
    )
    assert tagged.prompt == "<random: dwarf , half-orc>\n a \nb"


def test_a_prompt_is_the_same_with_a_tag_and_without() -> None:
    """https://github.com/rgthree/rgthree-comfy/issues/579, alexv0iceh/AutoChar/issues/9: nothing of it, and all that follows, stays."""
    for prompt in (
        "a, b <lora:x:1>, c",
        "a, b, <lora:x:1>, c",
        "a, b, c <lora:x:1>",
        "<lora:x:1> a, b, c",
        "a, b, <lora:x:1> c",
    ):
        assert tidied(without_tags(prompt).prompt) == "a, b, c"


def test_swarmui_says_the_unet_s_weight_first() -> None:
    assert without_tags("<lora:ink:0.3:0.5>", unet_first=True).styles == (StyleTag("ink", 0.3),)


def test_commas_around_tags_go_and_others_stay() -> None:
    tagged = without_tags("a fox, <lora:a:1>, <lora:b:1>,\nin snow, <lora:c:1>")
    assert tidied(tagged.prompt) == "a fox,\nin snow" and tidied("a, b") == "a, b"
    assert without_tags("a <b> c < d lora: e").prompt == "a <b> c < d lora: e"


@given(st.text(alphabet="<>lora:hyent ink0.8,;&g=\n\\", max_size=60))
def test_nothing_of_a_tag_stays_in_any_prompt(prompt: str) -> None:
    tagged = without_tags(prompt)
    assert TAG.search(tagged.prompt) is None or TAG.search(prompt.replace("\n", "")) is not None
    assert all(abs(tag.weight) <= 4 and tag.name for tag in tagged.styles)


def test_a_flood_of_tags_is_said_and_none_stays() -> None:
    whole = without_tags("a fox " + "".join(f"<lora:ink {number}:0.5>" for number in range(MOST_TAGS + 1)))
    assert whole.prompt == "a fox"
    assert len(whole.styles) == MOST_TAGS
    assert [note.values for note in whole.notes] == [{"count": MOST_TAGS + 1, "most": MOST_TAGS}]
    open_tags = without_tags("a fox " + "".join(f"<lora:ink{number} " for number in range(3 * MOST_TAGS)))
    assert open_tags.prompt == "a fox"
    assert len(open_tags.notes) == MOST_TAGS
