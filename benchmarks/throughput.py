"""How fast the closed loop imagines with 1, 8 and 32 episodes together, and where the time goes.

    python benchmarks/throughput.py [--policy CHECKPOINT] [--repeats 3] [--seed 0]

Seconds are of the CPU, of one process with one thread, so that other work on the machine does not
count; the median of the repeats is kept. Writes benchmarks/results/throughput.json.
"""

import argparse
import os
import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import torch

from worldeval import recipe as recipes
from worldeval.files import write_json
from worldeval.judge.load import load_judge
from worldeval.policy.load import load_policy
from worldeval.record import Start
from worldeval.rollout.loop import imagine
from worldeval.rollout.starts import read_starts
from worldeval.runs.origin import commit_of
from worldeval.runs.store import RolloutStore, pack
from worldeval.world.load import load_world

TOGETHER = (1, 8, 32)
RESULT = Path(__file__).parent / "results" / "throughput.json"


class Timed:
    """An object whose calls are timed under one name."""

    def __init__(self, inner: Any, name: str, spent: dict[str, float]) -> None:
        self._inner, self._name, self._spent = inner, name, spent

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        return self._timing(found) if callable(found) else found

    def __call__(self, *given: Any) -> Any:
        return self._timing(self._inner)(*given)

    def _timing(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*given: Any, **named: Any) -> Any:
            begin = process_time()
            try:
                return call(*given, **named)
            finally:
                self._spent[self._name] += process_time() - begin

        return timed


def measure(
    parts: tuple[Any, Any, Any], starts: Sequence[Start], *, horizon: int, replan_every: int
) -> dict[str, float]:
    """CPU-seconds of one batch from `starts`, by part and in all."""
    spent: dict[str, float] = defaultdict(float)
    names = ("world model", "policy", "judge")
    world, policy, judge = (Timed(x, n, spent) for x, n in zip(parts, names, strict=True))
    begin = process_time()
    rollouts = imagine(
        world,  # type: ignore[arg-type]
        policy,  # type: ignore[arg-type]
        starts,
        horizon=horizon,
        replan_every=replan_every,
        seeds=[start.seed for start in starts],
    )
    verdicts = judge(rollouts)
    write = process_time()
    with tempfile.TemporaryDirectory() as folder:
        RolloutStore(Path(folder)).add("batch", pack(rollouts, verdicts))
    spent["I/O"] = process_time() - write
    spent["all"] = process_time() - begin
    return dict(spent)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--policy", default="models/policies-test/bc-all/step-700")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    protocol = recipes.load("metaworld", "protocol").config
    parts = (
        load_world(Path(recipes.shipped(protocol.world))),
        load_policy(recipes.shipped(args.policy)),
        load_judge(Path(recipes.shipped(protocol.judge))),
    )
    starts = read_starts(Path(recipes.shipped(protocol.starts_file)))
    order = np.random.default_rng(args.seed).permutation(len(starts))
    rows = []
    for together in TOGETHER:
        chosen = [starts[place] for place in order[:together]]
        how = {"horizon": protocol.horizon, "replan_every": protocol.replan_every}
        measure(parts, chosen, **how)  # the first of a size also plans its matrix products
        found = [measure(parts, chosen, **how) for _ in range(args.repeats)]
        middle = sorted(found, key=lambda one: one["all"])[len(found) // 2]
        named = sum(seconds for name, seconds in middle.items() if name != "all")
        rows.append(
            {
                "episodes_together": together,
                "cpu_seconds_per_episode": middle["all"] / together,
                "episodes_per_cpu_minute": 60 * together / middle["all"],
                "share": {
                    **{n: s / middle["all"] for n, s in middle.items() if n != "all"},
                    "loop": 1 - named / middle["all"],
                },
            }
        )
        shares = ", ".join(f"{name} {share:.0%}" for name, share in rows[-1]["share"].items())
        each = rows[-1]["cpu_seconds_per_episode"]
        print(f"{together:>3} together: {each:.3f} CPU-s an episode ({shares})", flush=True)
    write_json(
        RESULT,
        {
            "command": f"python benchmarks/throughput.py --repeats {args.repeats}",
            "seed": args.seed,
            "commit": commit_of(Path(__file__).parent.parent),
            "machine": f"{os.cpu_count()} CPU cores",
            "world": protocol.world,
            "policy": args.policy,
            "horizon": protocol.horizon,
            "repeats": args.repeats,
            "rows": rows,
        },
    )


if __name__ == "__main__":
    main()
