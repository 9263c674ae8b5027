"""How many training steps of a family fit into a number of CPU-minutes: a trial tells.

    python benchmarks/family_steps.py dit-tiny --data runs/data/metaworld \\
        --home runs/families/shared --minutes 5 --out steps.json

A short training goes through the whole schedule of the recipe (later steps may cost more than the
first) and is timed by the CPU, so that other work on the machine does not count. The hand, which
some families train as a network of its own, gets its recipe's steps or a fifth of the time,
whichever is less, and the dynamics the rest. families.py asks it.
"""

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from time import process_time
from typing import Any

import torch

from worldeval.config import read_settings
from worldeval.files import write_json
from worldeval.recipe import Recipe, load
from worldeval.world.families import Fitting, family
from worldeval.world.load import new_world
from worldeval.world.training.prepare import Prepared, prepare

TRIAL = 61  # steps; progress is told at every 20th, and the first one warms up
HAND = 0.2  # of the time, at most


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weak", type=Path, nargs="*", default=[])
    parser.add_argument("--home", type=Path, required=True, help="where the tokenizer is")
    parser.add_argument("--minutes", type=float, required=True, help="of the CPU")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    found = load(args.recipe, "model", read_settings(args.set))
    prepared = prepare(found.config, args.data, args.weak, args.home, seed=args.seed, report=quiet)
    rates = steps_per_second(found, prepared, seed=args.seed)
    planned = plan(rates, hand=found.config.kinematics.trainer.steps, minutes=args.minutes)
    write_json(args.out, {**planned, "steps_per_cpu_second": rates})


def plan(rates: dict[str, float], *, hand: int, minutes: float) -> dict[str, int]:
    """Steps of the hand (0 where the family trains none) and of the dynamics, at least one each."""
    seconds = 60 * minutes
    steps = 0
    if "hand" in rates:
        steps = max(1, min(hand, int(HAND * seconds * rates["hand"])))
        seconds -= steps / rates["hand"]
    return {"hand_steps": steps, "steps": max(1, int(seconds * rates["dynamics"]))}


def steps_per_second(found: Recipe, prepared: Prepared, *, seed: int) -> dict[str, float]:
    """'dynamics' and, where there is one, 'hand' -> steps of training in a second of the CPU."""
    config = found.config
    hands = replace(config.kinematics, trainer=replace(config.kinematics.trainer, steps=TRIAL))
    brief = replace(config, trainer=replace(config.trainer, steps=TRIAL), kinematics=hands)
    torch.manual_seed(seed)
    world = new_world(found.kind, prepared.spec, brief)
    world.tokenizer = prepared.tokenizer
    clock: dict[str, list[float]] = {}

    def timed(stage: str, steps: int) -> Any:
        name = "hand" if stage.endswith("kinematics") else "dynamics"

        def progress(step: int, loss: float) -> None:
            clock.setdefault(name, []).append(process_time())

        return progress

    with tempfile.TemporaryDirectory() as folder:
        family(found.kind).fit(
            Fitting(
                world=world,
                recipe=brief,
                prepared=prepared,
                episodes=prepared.training(weak=False, without_fold=None, folds=config.folds),
                seed=seed,
                report=timed,
                stage="trial",
                fresh=True,
                folder=Path(folder),
            )
        )
    return {name: rate(times) for name, times in clock.items()}


def rate(times: Sequence[float]) -> float:
    """Steps a second, from the times at which every 20th step ended."""
    return 20 * (len(times) - 1) / max(times[-1] - times[0], 1e-6)


def quiet(stage: str, steps: int) -> Any:
    """Progress that shows nothing."""
    return lambda step, loss: None


if __name__ == "__main__":
    main()
