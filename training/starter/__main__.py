"""`python -m training.starter build` makes the starter model from nothing, `further` trains its UNet on, `evaluate` says how good it is, `artworks` draws the bundled sets."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path

from styles.devices.threads import wait_passively

HERE = Path(__file__).resolve().parent
MODEL = HERE.parents[1] / "styles" / "starter"


def main() -> None:
    """Read the command line and run one of the commands."""
    wait_passively()
    from training.starter.evaluate import PaintPlan, evaluate
    from training.starter.stage import BuildPlan

    parser = argparse.ArgumentParser(prog="python -m training.starter", description=__doc__)
    parser.add_argument("command", choices=("build", "further", "evaluate", "artworks"))
    parser.add_argument("--state", type=Path, default=HERE / "state", help="where unfinished work is kept")
    parser.add_argument("--out", type=Path, default=MODEL, help="the model folder")
    parser.add_argument("--device", default=None, help="cpu, cuda or mps; the best there is when left out")
    exam = parser.add_argument_group("evaluate")
    exam.add_argument("--pictures", type=Path, help="a folder of pictures for the autoencoder to restore")
    exam.add_argument("--count", type=int, default=300, help="single-subject pictures to paint and read")
    exam.add_argument("--pairs", type=int, default=60, help="two-subject pictures")
    exam.add_argument("--steps", type=int, default=20, help="denoising steps")
    exam.add_argument("--guidance", type=float, default=PaintPlan.guidance)
    exam.add_argument("--guidance-rescale", type=float, default=PaintPlan.guidance_rescale)
    exam.add_argument("--sampler", default="dpm++ 2m")
    for field in fields(BuildPlan):
        parser.add_argument(
            f"--{field.name.replace('_', '-')}", type=type(field.default), default=field.default
        )
    arguments = parser.parse_args()
    import torch

    device = torch.device(arguments.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    plan = BuildPlan(**{field.name: getattr(arguments, field.name) for field in fields(BuildPlan)})
    if arguments.command == "artworks":
        from training.starter.artworks import BUNDLED_HANDS, draw_artworks

        for hand in BUNDLED_HANDS:
            draw_artworks(hand, HERE.parent / "bundled" / hand.replace(" ", "_"))
        return
    if arguments.command in ("build", "further"):
        from training.starter import build

        getattr(build, arguments.command)(arguments.state, arguments.out, plan, device)
        return
    exam_plan = PaintPlan(
        count=arguments.count,
        pairs=arguments.pairs,
        steps=arguments.steps,
        guidance=arguments.guidance,
        guidance_rescale=arguments.guidance_rescale,
        sampler=arguments.sampler,
    )
    evaluate(arguments.state, arguments.out, device, exam_plan, arguments.pictures)


if __name__ == "__main__":
    main()
