"""LoCon, LoHa, LoKr: the factors that we stack make the very change that the formulas and PEFT's own layers make."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from styles.errors import StyleFileError
from styles.formats import layer_inspection
from styles.formats.reader import read_card, read_style
from styles.formats.style import Style, StyleLayer
from styles.formats.writer import write_style
from styles.library.verify import verify

LINEAR = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
CONV = "mid_block.resnets.0.conv1"
Parts = dict[str, Tensor]


def file_of(
    folder: Path, layers: dict[str, Parts], alpha: float | None = 3.0, kind: Any = torch.float16
) -> Path:
    """Write layers in kohya's names, as LyCORIS does."""
    path = folder / "theirs.safetensors"
    tensors = {}
    for name, parts in layers.items():
        stem = "lora_unet_" + name.replace(".", "_")
        told = {} if alpha is None else {"alpha": torch.tensor(alpha)}
        tensors |= {f"{stem}.{part}": value.to(kind).contiguous() for part, value in (parts | told).items()}
    save_file(tensors, path)
    return path


def delta(layer: StyleLayer) -> Tensor:
    """The layer's whole change as (out, in * kh * kw)."""
    return layer.scale * layer.up.double().flatten(1) @ layer.down.double().flatten(1)


def opened(path: Path) -> dict[str, StyleLayer]:
    style = read_style(path)
    assert style.card == read_card(path) and not style.card.problems[1:]
    return {layer.path: layer for layer in style.layers}


def halves(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return (torch.randn(*shape, generator=generator) * 0.3).half()


def close(got: Tensor, wanted: Tensor, error: float = 1e-6) -> None:
    assert got.shape == wanted.shape
    assert (got.double() - wanted.double()).norm() <= error * wanted.double().norm()


def test_a_middle_factor_is_the_three_convolutions_in_a_row(tmp_path: Path) -> None:
    down, mid, up = halves(4, 6, 1, 1), halves(4, 4, 3, 3), halves(10, 4, 1, 1)
    parts = {"lora_down.weight": down, "lora_mid.weight": mid, "lora_up.weight": up}
    layer = opened(file_of(tmp_path, {CONV: parts}))[CONV]
    assert layer.down.shape == (4, 6, 3, 3) and layer.up.shape == (10, 4, 1, 1) and layer.rank == 4
    x = torch.randn(2, 6, 9, 9, generator=torch.Generator().manual_seed(1)).double()
    wanted = F.conv2d(F.conv2d(F.conv2d(x, down.double()), mid.double(), padding=1), up.double()) * 3 / 4
    got = F.conv2d(F.conv2d(x, layer.down.double(), padding=1), layer.up.double()) * layer.scale
    close(got, wanted)


def loha_parts(out: int, flat: int, r1: int = 3, r2: int = 2) -> Parts:
    return {
        "hada_w1_a": halves(out, r1),
        "hada_w1_b": halves(r1, flat),
        "hada_w2_a": halves(out, r2, seed=1),
        "hada_w2_b": halves(r2, flat, seed=2),
    }


@pytest.mark.parametrize("ranks", [(3, 2), (5, 4)])  # 20 ranks are more than the layer has
def test_loha_is_exactly_a_lora_of_the_product_of_its_ranks(tmp_path: Path, ranks: tuple[int, int]) -> None:
    linear, conv = loha_parts(14, 12, *ranks), loha_parts(10, 6 * 9, *ranks)
    layers = opened(file_of(tmp_path, {LINEAR: linear, CONV: conv}))
    for path, parts, shape in ((LINEAR, linear, (12,)), (CONV, conv, (6, 3, 3))):
        a1, b1, a2, b2 = (parts[f"hada_w{n}_{side}"].double() for n in (1, 2) for side in "ab")
        close(delta(layers[path]), (a1 @ b1) * (a2 @ b2) * 3 / ranks[0])
        assert layers[path].down.shape[1:] == shape
        assert layers[path].rank == min(ranks[0] * ranks[1], *delta(layers[path]).shape)


def test_loha_with_cores(tmp_path: Path) -> None:
    parts = {f"hada_w{n}_a": halves(3, 10, seed=n) for n in (1, 2)}
    parts |= {f"hada_w{n}_b": halves(3, 6, seed=n) for n in (1, 2)}
    parts |= {f"hada_t{n}": halves(3, 3, 3, 3, seed=n) for n in (1, 2)}
    layer = opened(file_of(tmp_path, {CONV: parts}))[CONV]
    sides = []
    for n in (1, 2):
        a, b, t = (parts[f"hada_{name}"].double() for name in (f"w{n}_a", f"w{n}_b", f"t{n}"))
        side = torch.zeros(10, 6, 3, 3, dtype=torch.float64)
        for i in range(3):
            for j in range(3):
                side += a[i][:, None, None, None] * b[j][None, :, None, None] * t[i, j][None, None]
        sides.append(side)
    assert layer.down.shape == (9, 6, 3, 3)
    close(delta(layer), (sides[0] * sides[1]).flatten(1) * 3 / 3)


def lokr_matrix(parts: Parts, n: int) -> Tensor:
    """One Kronecker factor of a LoKr by its definition: (out, in) or (out, in, kh, kw)."""
    parts = {name: value.double() for name, value in parts.items()}
    if f"lokr_w{n}" in parts:
        return parts[f"lokr_w{n}"]
    a, b = parts[f"lokr_w{n}_a"], parts[f"lokr_w{n}_b"]
    if f"lokr_t{n}" not in parts:
        return a @ b
    found = torch.zeros(a.shape[1], b.shape[1], *parts[f"lokr_t{n}"].shape[2:], dtype=torch.float64)
    for i in range(len(a)):
        for j in range(len(b)):
            found += a[i][:, None, None, None] * b[j][None, :, None, None] * parts[f"lokr_t{n}"][i, j]
    return found


LOKR: dict[str, tuple[str, Parts, float]] = {  # layer, parts, what alpha = 3 comes to
    "both whole": (LINEAR, {"lokr_w1": halves(2, 3), "lokr_w2": halves(7, 4)}, 1.0),
    "second in two": (
        LINEAR,
        {"lokr_w1": halves(2, 3), "lokr_w2_a": halves(7, 2), "lokr_w2_b": halves(2, 4)},
        1.5,
    ),
    "first in two": (
        LINEAR,
        {"lokr_w1_a": halves(5, 2), "lokr_w1_b": halves(2, 3), "lokr_w2": halves(4, 4)},
        1.5,
    ),
    "both in two": (
        LINEAR,
        {
            "lokr_w1_a": halves(5, 2),
            "lokr_w1_b": halves(2, 3),
            "lokr_w2_a": halves(4, 3),
            "lokr_w2_b": halves(3, 4),
        },
        1.0,
    ),
    "more ranks than it has": (
        LINEAR,
        {"lokr_w1_a": halves(2, 5), "lokr_w1_b": halves(5, 3), "lokr_w2": halves(7, 4)},
        0.6,
    ),
    "convolution": (CONV, {"lokr_w1": halves(2, 3), "lokr_w2": halves(5, 2, 3, 3)}, 1.0),
    "flat convolution": (
        CONV,
        {"lokr_w1": halves(2, 3), "lokr_w2_a": halves(5, 2), "lokr_w2_b": halves(2, 18)},
        1.5,
    ),
    "with a core": (
        CONV,
        {
            "lokr_w1": halves(2, 3),
            "lokr_w2_a": halves(2, 5),
            "lokr_w2_b": halves(2, 4),
            "lokr_t2": halves(2, 2, 3, 3),
        },
        1.5,
    ),
}


@pytest.mark.parametrize("case", LOKR)
def test_lokr_is_the_kronecker_product(tmp_path: Path, case: str) -> None:
    path, parts, scale = LOKR[case]
    first, second = lokr_matrix(parts, 1), lokr_matrix(parts, 2)
    if second.ndim == 4:
        first = first[:, :, None, None]
    wanted = torch.kron(first, second)  # as LyCORIS puts it on the layer
    layer = opened(file_of(tmp_path, {path: parts}))[path]
    close(delta(layer), scale * wanted.reshape(len(wanted), -1))
    rank = int(torch.linalg.matrix_rank(wanted.reshape(len(wanted), -1)))
    assert layer.rank == rank  # not one rank more than it takes
    if path == CONV:
        assert layer.down.shape[2:] == (3, 3)


def test_a_change_too_large_is_cut_to_the_nearest_and_the_loss_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layers = {
        LINEAR: {"lokr_w1": halves(2, 3), "lokr_w2": halves(7, 4)},  # out 14, in 12
        LINEAR.replace("to_q", "to_k"): {"lokr_w1": halves(4, 2), "lokr_w2": halves(5, 4)},  # out 20, in 8
        LINEAR.replace("to_q", "to_v"): loha_parts(14, 12, 5, 4),
        CONV: loha_parts(10, 6 * 9, 5, 4),
    }
    path = file_of(tmp_path, layers)
    whole = opened(path)
    monkeypatch.setattr(
        "styles.formats.lycoris.ROOM",
        sum(4 * (layer.down[0].numel() + len(layer.up)) for layer in whole.values()),
    )
    style = read_style(path)
    lost = wanted = 0.0
    for layer in style.layers:
        exact = delta(whole[layer.path])
        assert layer.rank == 4 < whole[layer.path].rank
        sizes = torch.linalg.svdvals(exact)
        best = float(sizes[4:].square().sum())
        assert float((delta(layer) - exact).square().sum()) == pytest.approx(best, rel=1e-4)
        lost, wanted = lost + best, wanted + float(sizes.square().sum())
    assert f"leaves out {(lost / wanted) ** 0.5:.2%} of its change" in style.card.problems[-1]
    card = read_card(path)
    assert card.problems == style.card.problems[:-1] and "room for" in card.problems[-1]
    monkeypatch.setattr("styles.formats.lycoris.ROOM", 10)
    with pytest.raises(StyleFileError, match="more than"):
        read_card(path)


def test_kinds_may_be_mixed_and_are_said(tmp_path: Path) -> None:
    lora = {"lora_down.weight": halves(4, 12), "lora_up.weight": halves(14, 4)}
    path = file_of(
        tmp_path,
        {LINEAR: lora, CONV: loha_parts(10, 54), "mid_block.resnets.1.conv1": LOKR["convolution"][1]},
    )
    card = read_card(path)
    assert card.kind == "LoHa + LoKr + LoRA" and card.layers == {"unet": 3}
    style = read_style(path)
    assert [layer.scale for layer in style.layers if layer.path == LINEAR] == [0.75]
    assert torch.equal(style.layers[0].up, lora["lora_up.weight"])  # a plain one is taken as it is


def test_tiny_and_large_numbers_survive_being_written(tmp_path: Path) -> None:
    """LoHa multiplies small factors: written plainly in fp16 they would lose digits."""
    parts = {name: value * 1e-3 for name, value in loha_parts(14, 12).items()}
    style = read_style(file_of(tmp_path, {LINEAR: parts}, alpha=2000.0))
    again = write_style(style, tmp_path / "again.safetensors")
    assert again.card.kind == "LoRA"
    close(delta(again.layers[0]), delta(style.layers[0]), 2.0**-10)


@pytest.mark.parametrize("part", ["hada_w1_a", "hada_w2_b", "alpha"])
@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_values_that_are_no_numbers_are_refused(tmp_path: Path, part: str, number: float) -> None:
    parts = loha_parts(14, 12) | {"alpha": torch.tensor(3.0)}
    parts[part] = parts[part].clone()
    parts[part].view(-1)[0] = number
    with pytest.raises(StyleFileError, match="no numbers"):
        read_style(file_of(tmp_path, {LINEAR: parts}, alpha=None))


def test_products_that_overflow_are_refused(tmp_path: Path) -> None:
    parts = {name: value.float() * 1e20 for name, value in loha_parts(14, 12).items()}
    with pytest.raises(StyleFileError, match="no numbers"):
        read_style(file_of(tmp_path, {LINEAR: parts}, kind=torch.float32))


# PEFT as the second opinion


class Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attn1 = nn.Module()
        self.attn1.to_q = nn.Linear(12, 16)
        self.attn1.to_out = nn.ModuleList([nn.Linear(16, 12)])


class Net(nn.Module):
    """A few layers of a UNet, with their names."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(4, 12, 3, padding=1)
        self.mid_block = nn.Module()
        attention, resnet = nn.Module(), nn.Module()
        attention.transformer_blocks = nn.ModuleList([Transformer()])
        attention.proj_in = nn.Conv2d(12, 8, 1)
        resnet.conv1 = nn.Conv2d(12, 20, 3, padding=1)
        self.mid_block.attentions = nn.ModuleList([attention])
        self.mid_block.resnets = nn.ModuleList([resnet])


TARGETS = ["conv_in", "to_q", "to_out.0", "proj_in", "conv1"]


def peft_folder(folder: Path, config: Any) -> dict[str, Tensor]:
    """Save a random adapter as PEFT does, and return its own changes."""
    from peft import get_peft_model

    torch.manual_seed(3)
    model = get_peft_model(Net(), config)
    with torch.no_grad():
        for value in model.parameters():
            if value.requires_grad:
                value.copy_(torch.randn_like(value) * 0.3)
    model.save_pretrained(folder, safe_serialization=True)
    start = "base_model.model."
    return {
        name.removeprefix(start): module.get_delta_weight("default").detach().flatten(1)
        for name, module in model.named_modules()
        if hasattr(module, "get_delta_weight")
    }


def same_as_peft(style: Style, theirs: dict[str, Tensor]) -> None:
    assert {layer.path for layer in style.layers} == set(theirs) and len(theirs) == 5
    for layer in style.layers:
        close(delta(layer), theirs[layer.path], 1e-5)


@pytest.mark.parametrize("kind", ["LoHa", "LoHa cores", "LoKr", "LoKr both", "LoKr whole", "LoKr cores"])
def test_peft_makes_the_same_change_of_loha_and_lokr(tmp_path: Path, kind: str) -> None:
    from peft import LoHaConfig, LoKrConfig

    plain: dict[str, Any] = {"r": 3, "alpha": 2, "target_modules": TARGETS, "init_weights": False}
    plain |= {"alpha_pattern": {"to_q": 5}, "use_effective_conv2d": "cores" in kind}
    if kind.startswith("LoHa"):
        theirs = peft_folder(tmp_path, LoHaConfig(**plain))
    else:
        plain |= {"r": 16 if "whole" in kind else 2 if "both" in kind else 1}
        theirs = peft_folder(tmp_path, LoKrConfig(**plain, decompose_both="both" in kind, decompose_factor=4))
    style = read_style(tmp_path)
    assert style.card.kind == kind[:4] and style.card == read_card(tmp_path) and style.card.path == tmp_path
    same_as_peft(style, theirs)


@pytest.mark.parametrize("by_root", [False, True])
def test_peft_folders_with_patterns(tmp_path: Path, by_root: bool) -> None:
    from peft import LoraConfig

    config = LoraConfig(
        r=4,
        lora_alpha=6,
        target_modules=TARGETS,
        use_rslora=by_root,
        rank_pattern={r"mid_block.*conv1": 2, "to_q": 3},
        alpha_pattern={r"^conv_in": 1, r".*\.to_(q|k)": 10, "to_q": 7},
    )
    theirs = peft_folder(tmp_path, config)
    style = read_style(tmp_path)
    same_as_peft(style, theirs)
    assert style.card.kind == "LoCon" and not any("alpha" in problem for problem in style.card.problems)
    ranks = {layer.path.rsplit(".", 1)[-1]: layer.rank for layer in style.layers}
    assert (ranks["conv1"], ranks["to_q"], ranks["conv_in"]) == (2, 3, 4)


def test_dora_is_refused_with_the_reason(tmp_path: Path) -> None:
    from peft import LoraConfig

    peft_folder(tmp_path / "peft", LoraConfig(r=2, target_modules=TARGETS, use_dora=True))
    with pytest.raises(StyleFileError, match="DoRA: besides its ranks"):
        read_style(tmp_path / "peft")
    parts = {"lora_down.weight": halves(4, 12), "lora_up.weight": halves(14, 4), "dora_scale": halves(1, 12)}
    with pytest.raises(StyleFileError, match="DoRA: besides its ranks"):
        read_card(file_of(tmp_path, {LINEAR: parts}))


def test_the_room_that_is_kept_is_the_files_largest_size() -> None:
    from styles.formats.lycoris import ROOM
    from styles.formats.safetensors_header import LARGEST_FILE

    assert ROOM * 4 == LARGEST_FILE and layer_inspection.ROOM == ROOM


@pytest.mark.parametrize("kind", [torch.int64, torch.int32, torch.bfloat16])
@pytest.mark.parametrize("factors", [("lokr_w1", "lokr_w2"), ("lora_up.weight", "lora_down.weight")])
def test_an_alpha_may_be_a_whole_number(tmp_path: Path, kind: Any, factors: tuple[str, str]) -> None:
    parts = {factors[0]: halves(4, 4), factors[1]: halves(4, 4, seed=1)}
    path = file_of(tmp_path, {LINEAR: parts}, alpha=None)
    tensors = load_file(path)
    stem = "lora_unet_" + LINEAR.replace(".", "_")
    save_file(tensors | {f"{stem}.alpha": torch.tensor(2, dtype=kind)}, path)
    whole = opened(path)[LINEAR]
    assert verify(path).whole
    save_file(tensors | {f"{stem}.alpha": torch.tensor(2.0)}, path)
    close(delta(whole), delta(opened(path)[LINEAR]))
    save_file(tensors | {f"{stem}.{factors[0]}": torch.ones(4, 4, dtype=kind)}, path)
    if kind != torch.bfloat16:
        with pytest.raises(StyleFileError, match="holds I"):
            read_style(path)
