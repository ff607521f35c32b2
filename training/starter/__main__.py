"""`python -m training.starter build` makes the starter model from nothing; `evaluate` says how good it is."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path

HERE = Path(__file__).resolve().parent
MODEL = HERE.parents[1] / "styles" / "starter"


def main() -> None:
    """Read the command line and run one of the two commands."""
    parser = argparse.ArgumentParser(prog="python -m training.starter", description=__doc__)
    parser.add_argument("command", choices=("build", "evaluate"))
    parser.add_argument("--state", type=Path, default=HERE / "state", help="where unfinished work is kept")
    parser.add_argument("--out", type=Path, default=MODEL, help="the model folder")
    parser.add_argument("--device", default=None, help="cpu, cuda or mps; the best there is when left out")
    from training.starter.build import BuildPlan, build

    for field in fields(BuildPlan):
        parser.add_argument(
            f"--{field.name.replace('_', '-')}", type=type(field.default), default=field.default
        )
    arguments = parser.parse_args()
    import torch

    device = torch.device(arguments.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    plan = BuildPlan(**{field.name: getattr(arguments, field.name) for field in fields(BuildPlan)})
    if arguments.command == "build":
        build(arguments.state, arguments.out, plan, device)
        return
    from training.starter.evaluate import evaluate

    evaluate(arguments.state, arguments.out, device)


if __name__ == "__main__":
    main()
