"""Does a style really learn? `python -m tests.benchmarks.learning` trains on hands that the starter never saw.

For each held-out hand and seed: train a style on 8 artworks, paint 32 prompts (most of their subjects are in no
artwork) at several weights, and take d(w), the style distance of those pictures from the reference: drawings of
the same prompts in that hand, passed through the autoencoder. The floor is the distance between two such references;
d(0) is taken without the trigger word. Gap closed is (d(0) - d(1)) / (d(0) - floor).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from styles.formats.style import Style
from styles.storage.home import Home
from tests.benchmarks.style_exam import (
    Bench,
    Prompts,
    Reference,
    artworks_of,
    measure,
    train_style,
    untrained,
)
from training.distance import PARTS
from training.starter.evaluate import PaintPlan
from training.starter.hands import HELD_OUT
from training.starter.sheet import contact_sheet

REPOSITORY = Path(__file__).resolve().parents[2]
TRIGGER = "brantil"  # made up, like the words that the starter has learnt to pass over


def sheet(reference: Reference, weights: Sequence[float], painted: np.ndarray, path: Path) -> None:
    """One row of eight pictures for each weight, and the true drawings below."""
    shown = [f"weight {weight:g}" for weight in sorted({*weights, 0.0, 1.0}) for _ in range(8)]
    pictures = np.concatenate([painted[:, :8].reshape(-1, *painted.shape[2:]), reference.pictures[:8]])
    contact_sheet(pictures, [*shown, *["true, through VAE"] * 8], columns=8).save(path)


def run(options: argparse.Namespace) -> dict:
    """Train and measure everything that was asked for; writes the JSON after each style."""
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    home = Home(out / "home")
    home.create()
    painting = PaintPlan(
        steps=options.paint_steps, guidance=options.guidance, guidance_rescale=options.guidance_rescale
    )
    prompts = Prompts.of(options.pictures, options.first_prompt)
    bench = Bench.open(options.base, home, prompts, painting, options.trigger, options.state, options.device)
    if bench.reader is None:
        print(f"no classifier in {options.state}: subjects are not read", flush=True)
    overrides = {
        name: value
        for name, value in vars(options).items()
        if value is not None
        and name
        in ("steps", "rank", "alpha", "learning_rate", "batch", "layers", "caption_dropout", "opposite_every")
    }
    overrides |= {"preview_every": 0} if options.no_previews else {}
    overrides |= {"companions": tuple(options.companions)} if options.companions is not None else {}
    result: dict = {"options": {k: str(v) for k, v in vars(options).items()}, "styles": [], "controls": []}
    references = {hand: Reference.of(bench, hand) for hand in options.hands}
    trained: dict[str, Style] = {}
    for hand, reference in references.items():
        artworks = artworks_of(hand, out / "artworks", captioned=not options.without_captions)
        for seed in options.seeds:
            style, seconds = train_style(bench, home, artworks, options.preset, seed, **overrides)
            trained.setdefault(hand, style)
            row, painted = measure(bench, reference, style, options.weights)
            row = {"hand": hand, "seed": seed, "seconds": round(seconds, 1), "floor": reference.floor, **row}
            result["styles"].append(row)
            sheet(reference, options.weights, painted, out / f"{hand.replace(' ', '_')}-{seed}.png")
            print(_line(f"{hand}, seed {seed}", row), flush=True)
            _write(result, out)
    if options.controls:
        _controls(bench, home, references, trained, options, overrides, result)
    _report(result)
    _write(result, out)
    return result


def _controls(
    bench: Bench,
    home: Home,
    references: dict[str, Reference],
    trained: dict[str, Style],
    options: argparse.Namespace,
    overrides: dict[str, Any],
    result: dict,
) -> None:
    """What must not pass: an untrained style, each other hand's style, one trained on shuffled pixels."""
    for hand, reference in references.items():
        mixed = artworks_of(
            hand, options.out / "artworks", shuffled=True, captioned=not options.without_captions
        )
        controls = {"untrained": untrained(trained[hand])}
        controls |= {f"style of {other}": style for other, style in trained.items() if other != hand}
        controls["shuffled pixels"] = train_style(
            bench, home, mixed, options.preset, options.seeds[0], **overrides
        )[0]
        for name, style in controls.items():
            row, _ = measure(bench, reference, style, (0.0, 1.0))
            result["controls"].append({"hand": hand, "control": name, **row})
            print(_line(f"{hand}, {name}", row), flush=True)
            _write(result, options.out)


def _line(name: str, row: dict) -> str:
    closed = "  ".join(f"{part} {row['closed'][part]:6.1%}" for part in PARTS)
    d = " ".join(f"d({weight}) {parts['overall']:.3f}" for weight, parts in row["d"].items())
    subject = ""
    if "subject share" in row:
        others = "  ".join(f"{at}: {share:.0%}" for at, share in row["subject"].items() if at != "1")
        subject = f"subject {row['subject share']:.0%} of true ({others} right)"
    seconds = f"{row['seconds']:.0f} s" if "seconds" in row else ""
    verdict = {True: "passes", False: "fails", None: "meets what was measured"}[row["passes"]]
    return f"{name:34} closed: {closed}  {d}  {subject}  {seconds}  {verdict}"


def _report(result: dict) -> None:
    print("\nworst over all hands and seeds, gap closed:")
    for part in PARTS:
        values = [row["closed"][part] for row in result["styles"]]
        print(f"  {part:9} worst {min(values):6.1%}  mean {np.mean(values):6.1%}")
    shares = [row["subject share"] for row in result["styles"] if "subject share" in row]
    if shares:
        print(f"  subject   worst {min(shares):6.1%}  mean {np.mean(shares):6.1%} of true drawings")
    print(
        f"  styles that pass: {sum(row['passes'] is True for row in result['styles'])} of {len(result['styles'])}"
    )
    wrong = [f"{row['hand']}, {row['control']}" for row in result["controls"] if row["passes"] is not False]
    if result["controls"]:
        print(f"  controls that were not shown to fail: {', '.join(wrong) or 'none'}")


def _write(result: dict, out: Path) -> None:
    (out / "learning.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> dict:
    """Read the command line and run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.learning", description=__doc__)
    parser.add_argument("--base", type=Path, default=REPOSITORY / "styles" / "starter")
    parser.add_argument("--state", type=Path, default=REPOSITORY / "training" / "starter" / "state")
    parser.add_argument("--out", type=Path, default=Path("learning"), help="a folder for everything")
    parser.add_argument("--preset", default="balanced")
    parser.add_argument("--hands", nargs="+", default=list(HELD_OUT), choices=list(HELD_OUT))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--weights", nargs="+", type=float, default=[-1, 0, 0.25, 0.5, 0.75, 1])
    parser.add_argument("--pictures", type=int, default=32, help="prompts to paint at each weight")
    parser.add_argument(
        "--first-prompt", type=int, default=0, help="number of the first; the presets saw 0 to 31"
    )
    parser.add_argument("--controls", action="store_true", help="also measure what must fail")
    parser.add_argument("--without-captions", action="store_true", help="train on the artworks alone")
    parser.add_argument(
        "--companions", nargs="*", help="instead of the preset's; none given: the trigger word alone"
    )
    parser.add_argument("--no-previews", action="store_true")
    parser.add_argument("--trigger", default=TRIGGER, help="the word for the style; '' for none")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--paint-steps", type=int, default=20)
    parser.add_argument("--guidance", type=float, default=PaintPlan.guidance)
    parser.add_argument("--guidance-rescale", type=float, default=PaintPlan.guidance_rescale)
    for name, kind in (
        ("steps", int),
        ("rank", int),
        ("alpha", float),
        ("batch", int),
        ("caption-dropout", float),
        ("opposite-every", int),
    ):
        parser.add_argument(f"--{name}", type=kind, help="instead of the preset's")
    parser.add_argument("--rate", dest="learning_rate", type=float, help="instead of the preset's")
    parser.add_argument("--layers", choices=("cross", "cross+self"), help="instead of the preset's")
    return run(parser.parse_args(argv))


if __name__ == "__main__":
    main()
