r"""Kinds of policy in one arena: does imagination rank architectures, or only checkpoints of one?

    worldeval data collect metaworld --out runs/data/metaworld
    python benchmarks/arena.py --data runs/data/metaworld --minutes 2

Every kind (a head with its shipped recipe) is trained on the same demonstrations for the same
CPU-minutes with several seeds: a trial of the first steps says how many steps fit. The clock is the
CPU's, so other work on the machine hardly counts. Checkpoints are kept at the end and after a share
of the steps (`--early`); all are imagined in a world model and tried in the simulator from the same
starts. `arena_numbers.py` compares both, over the kinds and within them, with validation error.

Another robot takes the same road from its lab (docs/your-robot.md), such as PushT:

    python benchmarks/arena.py --data runs/pusht/demos --map runs/pusht/map.yaml --every 5 \
        --experts planner --tasks --protocol runs/pusht/lab --truth 'gym:gym_pusht/PushT-v0?...' \
        --home runs/arena-pusht --out arena-pusht.json

What is finished in --home is not done again, and --out is written after every part.
"""

import argparse
import json
import os
import platform
import shlex
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import mean, median
from time import process_time
from typing import Any

import numpy as np
import pandas as pd
import torch
from arena_numbers import compared, listed

import worldeval as we
from worldeval.api.data import read_mixture
from worldeval.data.adapt import ChosenEpisodes
from worldeval.data.table import RecordedEpisodes, read_table
from worldeval.errors import UserError
from worldeval.files import read_json, write_json
from worldeval.policy.checkpoint import LearnedPolicy, load
from worldeval.policy.demos import Demos
from worldeval.policy.recipe import DemoGroup, Lineage, PolicyRecipe
from worldeval.policy.train import train
from worldeval.policy.validation import validation_demos
from worldeval.recipe import load as load_recipe
from worldeval.record import Observation
from worldeval.runs.origin import commit_of, open_run
from worldeval.runs.paths import IMAGINED, TRUTH, RunPaths
from worldeval.runs.tables import read_side
from worldeval.training.optimise import Progress

TASKS = ("drawer-open-v3", "door-open-v3", "window-open-v3")
KINDS = ("bc", "flow", "diffusion", "a2a", "carp", "ebt", "beso", "dita", "mamba", "act-jepa")
PLAIN = "flow"  # `bc` has no recipe of its own: it takes this one's
TRIAL = 101  # steps of a trial; progress is told at every 20th, and the first 20 warm up
CALLS = 30  # timed calls of a policy
FIRST_SEED = 370_000  # of the simulator's resets: used by nothing else
HERE = Path(__file__).parent
LATER = ("kinds", "seeds", "starts", "jobs", "stop")  # may differ between calls on one --home


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A training run of the arena."""

    kind: str
    seed: int

    @property
    def name(self) -> str:
        """Name of its lineage."""
        return f"{self.kind}-{self.seed}"


def main() -> None:
    args = arguments()
    entries = [Entry(kind=kind, seed=seed) for seed in range(args.seeds) for kind in args.kinds]
    open_run(
        args.home,
        recipe={key: plain(value) for key, value in vars(args).items() if key != "out"},
        seed=args.seed,
        command=f"python {shlex.join(sys.argv)}",
        resume=True,
        free=LATER,
    )
    torch.set_num_threads(1)
    data = read_mixture(args.data, maps=args.map, every=args.every)
    waiting = [entry for entry in entries if not facts_of(entry, args).is_file()]
    recorded = only(read_table(*data), args.tasks) if waiting else None
    for seed in range(args.seeds):
        own = [entry for entry in entries if entry.seed == seed]
        for entry in own:
            if entry in waiting and recorded is not None:
                prepare(entry, recorded, args)
                write(entries, args)
        if args.stop != "train":
            roll_out([str(checkpoints(entry, args)[-1]) for entry in own], args)
            write(entries, args)
    if args.stop != "train" and args.early:
        for entry in entries:
            roll_out([str(folder) for folder in checkpoints(entry, args)], args)
            write(entries, args)
    print(listed(read_json(args.out)))


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", action="append", required=True, help="demonstrations")
    parser.add_argument("--map", type=Path, action="append", default=[])
    parser.add_argument("--every", type=int, help="recorded steps in a frame")
    parser.add_argument("--experts", nargs="+", default=["expert", "expert-noise"])
    parser.add_argument("--tasks", nargs="*", default=list(TASKS), help="none: all of the data")
    parser.add_argument("--minutes", type=float, default=2.0, help="of the CPU, for each policy")
    parser.add_argument("--early", type=float, default=0.25, help="share of the steps; 0: none")
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), help="heads of policies")
    parser.add_argument("--seeds", type=int, default=2, help="policies of each kind")
    parser.add_argument("--protocol", default="metaworld", help="name, path or lab")
    parser.add_argument("--truth", default="", help="simulator, where the protocol names none")
    parser.add_argument("--starts", type=int, default=20, help="of each task")
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    parser.add_argument("--jobs", type=int, default=1, help="processes of roll-outs")
    parser.add_argument("--stop", choices=["train"], help="leave the roll-outs for later")
    parser.add_argument("--home", type=Path, default=Path("runs/arena"))
    parser.add_argument("--out", type=Path, default=HERE / "results/arena.json")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def recipe_of(kind: str, experts: Sequence[str]) -> PolicyRecipe:
    """The shipped recipe of a kind, imitating the given experts."""
    name = f"policy-{PLAIN if kind == 'bc' else kind}"
    found: PolicyRecipe = load_recipe(name, "policy").config
    return replace(
        found,
        head=kind,
        demos=(DemoGroup(sources=tuple(experts)),),
        validation_sources=tuple(experts[:1]),
    )


def only(recorded: RecordedEpisodes, tasks: Sequence[str]) -> RecordedEpisodes:
    """The episodes of some tasks; all where none are named.

    Raises:
        UserError: a task has no episode.
    """
    if missing := [task for task in tasks if task not in recorded.tasks]:
        raise UserError(
            f"{recorded.where} has no episode of {missing[0]} (it has: "
            f"{', '.join(recorded.tasks)}). Name its tasks with --tasks."
        )
    if not tasks:
        return recorded
    return RecordedEpisodes(
        [
            ChosenEpisodes(source, [i for i, head in enumerate(source.heads) if head.task in tasks])
            for source in recorded.sources
        ]
    )


def prepare(entry: Entry, recorded: RecordedEpisodes, args: argparse.Namespace) -> None:
    """Train an entry, and measure what needs no roll-out."""
    path = facts_of(entry, args)
    recipe = recipe_of(entry.kind, args.experts)
    trial = args.home / f"speed-{entry.kind}.json"  # all seeds of a kind take the same steps
    if not trial.is_file():
        write_json(trial, {"steps_per_cpu_second": speed(recipe, recorded, seed=args.seed)})
    steps = max(2, int(60 * args.minutes * read_json(trial)["steps_per_cpu_second"]))
    early = max(1, int(args.early * steps))
    kept = (early, steps) if args.early else (steps,)
    recipe = replace(recipe, trainer=replace(recipe.trainer, steps=steps, save_at=kept))
    clock = Clock(skip=kept)
    lineage = Lineage(name=entry.name, seed=700 + entry.seed)
    made = train(recipe, lineage, recorded, path.parent.parent, seed=args.seed, report=clock)
    policy = load(made[-1].folder)
    held_out = validation_demos(recorded, recipe.validation_per_task, recipe.validation_sources)
    write_json(
        path,
        {
            "kind": entry.kind,
            "seed": entry.seed,
            "steps": steps,
            "cpu_minutes": round(steps * clock.seconds / 60, 3) if clock.known else None,
            "demonstrations": sum(made[-1].card.demos.values()),
            "parameters": sum(each.numel() for each in policy.network.parameters()),
            "latency_ms": round(latency(policy, held_out), 3),
        },
    )
    print(entry.name, read_json(path), flush=True)


class Clock:
    """The CPU-seconds of a training step, without those that wrote and validated checkpoints."""

    def __init__(self, skip: Sequence[int] = ()) -> None:
        self.skip = tuple(skip)
        self.times: list[tuple[int, float]] = []

    def __call__(self, stage: str, steps: int) -> Progress:
        self.times = []
        return lambda step, loss: self.times.append((step, process_time()))

    @property
    def spans(self) -> list[float]:
        """Seconds a step of every counted stretch; the first one, which warms up, is not."""
        return [
            (after - before) / (last - first)
            for (first, before), (last, after) in pairwise(self.times[1:])
            if not any(first < step <= last for step in self.skip)
        ]

    @property
    def known(self) -> bool:
        """Whether there were enough steps to tell."""
        return bool(self.spans)

    @property
    def seconds(self) -> float:
        """Mean CPU-seconds of a step."""
        return mean(self.spans)


def speed(recipe: PolicyRecipe, recorded: RecordedEpisodes, *, seed: int) -> float:
    """Steps of training in a second of the CPU, from a trial."""
    brief = replace(recipe, trainer=replace(recipe.trainer, steps=TRIAL, save_at=()))
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        lineage = Lineage(name="trial", seed=900)
        train(brief, lineage, recorded, Path(folder), seed=seed, report=clock)
    return 1 / max(median(clock.spans), 1e-6)


def latency(policy: LearnedPolicy, demos: Demos) -> float:
    """Median CPU-milliseconds of one chunk for one episode."""
    rows = np.linspace(0, len(demos) - 1, CALLS + 1).astype(int)
    spent = []
    for row in rows:
        policy.reset([demos.tasks[demos.task[row]]], [0])
        shown = demos.moments(np.array([row]), policy.spec.history)[0]
        *past, now = [seen(demos, int(one)) for one in shown]
        observed = replace(now, past=tuple(past))
        began = process_time()
        policy.act(observed)
        spent.append(1000 * (process_time() - began))
    return median(spent[1:])  # the first one warms up


def seen(demos: Demos, row: int) -> Observation:
    """One recorded moment as a policy sees it."""
    frames = {view: demos.frames[row : row + 1, i] for i, view in enumerate(demos.views)}
    task = demos.tasks[demos.task[row]]
    return Observation(frames=frames, pose=demos.pose[row : row + 1], tasks=(task,))


def facts_of(entry: Entry, args: argparse.Namespace) -> Path:
    """The file that says what an entry cost; with it, the entry is trained."""
    return args.home / "policies" / entry.name / "arena.json"


def checkpoints(entry: Entry, args: argparse.Namespace) -> list[Path]:
    """The checkpoints of an entry, the last one last."""
    found = (args.home / "policies" / entry.name).glob("step-*/policy.json")
    return sorted((path.parent for path in found), key=lambda path: int(path.name[5:]))


def roll_out(policies: Sequence[str], args: argparse.Namespace) -> None:
    """Imagine and simulate policies from the same starts, in one growing run."""
    settings: dict[str, Any] = {"starts": args.starts, "first_seed": args.first_seed}
    if args.tasks:
        settings["tasks"] = list(args.tasks)
    we.rank(
        list(policies),
        protocol=args.protocol,
        settings=settings,
        truth=args.truth or True,
        out=args.home / "run",
        jobs=args.jobs,
        check=False,
        progress=False,
        seed=args.seed,
    )


def write(entries: Sequence[Entry], args: argparse.Namespace) -> None:
    """Write all that is known so far."""
    rows = list(known(entries, args))
    run = args.home / "run"
    tables = [
        read_side(run, side, needed=("policy", "task"))
        if RunPaths(run).outcomes(side).is_file()
        else pd.DataFrame()
        for side in (IMAGINED, TRUTH)
    ]
    content = {
        "command": f"python {shlex.join(sys.argv)}",
        "commit": commit_of(HERE.parent),
        "machine": f"{os.cpu_count()} CPU cores, {platform.machine()}",
        "cpu_minutes": args.minutes,
        "starts_per_task": args.starts,
        "tasks": list(args.tasks),
        "seed": args.seed,
        **compared(rows, *tables, seed=args.seed),
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(args.out, content)


def known(entries: Sequence[Entry], args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """A row for every checkpoint of what is trained."""
    for entry in entries:
        path = facts_of(entry, args)
        if not path.is_file():
            continue
        folders = checkpoints(entry, args)
        for folder in folders:
            card = json.loads((folder / "policy.json").read_text(encoding="utf-8"))["card"]
            yield {
                "policy": f"{card['lineage']}/step-{card['step']}",
                **read_json(path),
                "step": card["step"],
                "last": folder == folders[-1],
                "validation_mse": card["validation_mse"],
            }


def plain(value: Any) -> Any:
    """A setting as YAML has it."""
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return str(value) if isinstance(value, Path) else value


if __name__ == "__main__":
    main()
