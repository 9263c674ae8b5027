r"""From a robot's recordings to a ranking, by the commands of docs/your-robot.md; how good is it?

    python benchmarks/robots.py pusht --demos runs/pusht/demos --also runs/pusht/hasty \
        --out runs/pusht [--until collect] [--develop] [--look]

`pusht` names a file beside this one whose `ROBOT` describes the robot: its simulator's address, its
rate, the columns of its data. Every stage is one command, is skipped if it has finished, and is
listed with its CPU time in `OUT/stages.json`:

1. `policy train` a few weak policies, `data collect` their roll-outs in the simulator: earlier
   evaluations, as a lab has them;
2. `learn` the recordings with these roll-outs;
3. `policy train` the policies to rank: other seeds, other demonstrations, other faults;
4. `rank` them, with the simulator as truth, from starts that nothing else used.

With `--develop`, the weak policies are ranked and compared instead, from starts of their own: all
that may be looked at while anything is still being decided. `--look` ranks the test policies and
writes the row to `benchmarks/results/robots.json` (or `--results`); it is done once.
"""

import argparse
import importlib
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import yaml

from worldeval.files import read_json, write_json
from worldeval.runs.summary import read_summary

RESULTS = Path(__file__).parent / "results/robots.json"
ROLLOUT_SEED, DEVELOP_SEED, TEST_SEED = 100_000, 500_000, 910_000  # first of the simulator's resets
MEASURES = ("pearson", "spearman", "mmrv", "false_success")
STAGES = ("weak", "collect", "learn", "develop", "test", "rank")

Call = Callable[[Sequence[str]], None]  # runs `worldeval` with these words, or raises
Plan = Callable[["Robot"], dict[str, Any]]  # a recipe of policies


@dataclass(frozen=True, kw_only=True)
class Robot:
    """All that the road needs to be told of a robot."""

    name: str
    why: str  # what is unlike the other robots
    address: str  # of its simulator
    tasks: tuple[str, ...]  # as its recordings name them
    horizon: int  # frames of the world model
    every: int = 1  # recorded steps in a frame
    map: Mapping[str, Any] = field(default_factory=dict)  # of the recordings, without `every`
    experts: tuple[str, ...] = ("expert",)  # sources of good demonstrations
    poor: tuple[str, ...] = ()  # sources of poor ones; (): poor policies have few demonstrations
    minutes: float | None = 20.0  # of `learn`; None: as many steps as the recipe says
    learn: tuple[str, ...] = ()  # further words of `learn`
    rank: tuple[str, ...] = ()  # further words of `rank`
    size: tuple[int, int] | None = None  # of the policies' images; None: as recorded
    chunk: int = 2  # frames that a policy plans ahead
    steps: int = 2000  # optimiser steps of the longest policy training
    policy: Mapping[str, Any] = field(default_factory=dict)  # further keys of the policies' recipe
    without: tuple[str, ...] = ()  # lineages to leave out, to save time
    bias: tuple[float, ...] = ()  # of the biased policies, in half ranges of a step's action
    noise: float = 0.5  # of the noisy policies' labels, in half ranges
    # Addresses of policies in code, beside those that are trained; {here} is this folder.
    weak_code: tuple[str, ...] = ()
    code: tuple[str, ...] = ()
    checkpoints: str = "*/step-*"  # of the trained policies that are compared
    episodes: int = 160  # roll-outs of each task by the weak policies
    starts: int = 30  # of each task in the comparison
    target: tuple[float, float, float, float] = (0.9, 0.88, 0.1, 0.15)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("robot", help="a file beside this one that defines ROBOT")
    parser.add_argument("--demos", type=Path, required=True, help="recordings to learn from")
    parser.add_argument("--also", type=Path, action="append", default=[], help="poor recordings")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--until", choices=STAGES, default="test", help="the last stage to run")
    parser.add_argument("--develop", action="store_true", help="compare the weak policies")
    parser.add_argument("--look", action="store_true", help="compare the test policies, once")
    parser.add_argument("--results", type=Path, default=RESULTS, help="JSON file of the rows")
    parser.add_argument("--jobs", type=int, default=1)
    args = parser.parse_args()
    robot = importlib.import_module(args.robot).ROBOT
    road = Road(robot, demos=args.demos, also=args.also, out=args.out, jobs=args.jobs)
    wanted = STAGES[: STAGES.index(args.until) + 1]
    skipped = {"develop": not args.develop, "rank": not args.look}
    for stage in STAGES if args.look else wanted:
        if not skipped.get(stage, False):
            getattr(road, stage)()
    if args.develop:
        print(json.dumps(road.row("develop"), indent=1))
    if args.look:
        keep(road.row("rank"), args.results)


class Road:
    """The stages for one robot, in the folder `out`.

    Args:
        demos: recordings to learn from.
        also: recordings of poor drivers: some policies imitate them, and `learn` takes them as
            roll-outs.
        call: runs a command of `worldeval`; by default in a process of its own.
        sets: recipes of the weak policies, and of those to rank.
    """

    def __init__(
        self, robot: Robot, *, demos: Path, also: Sequence[Path] = (), out: Path, jobs: int = 1,
        call: Call | None = None, sets: tuple[Plan, Plan] | None = None,
    ) -> None:  # fmt: skip
        self.robot, self.demos, self.also, self.out, self.jobs = robot, demos, also, out, jobs
        self.call = call or in_own_process
        self.sets = sets or (weak_policies, policies_to_rank)
        out.mkdir(parents=True, exist_ok=True)
        self.map = out / "map.yaml"
        self._recipe(self.map, {"every": robot.every, **robot.map})

    def weak(self) -> None:
        """Train policies that fail in different ways."""
        path = self._recipe(self.out / "weak.yaml", self.sets[0](self.robot))
        self._train("weak", path)

    def collect(self) -> None:
        """Roll the weak policies out in the simulator: evaluations with a known outcome."""
        robot = self.robot
        recipe = {
            "kind": "rollouts",
            "tasks": list(robot.tasks),
            "policies": [],
            "episodes": robot.episodes,
            "first_seed": ROLLOUT_SEED,
            "shard": 20,
            "horizon": robot.horizon,
            "replan_every": 1,
            "after_success": 3,
        }
        path = self._recipe(self.out / "rollouts.yaml", recipe)
        # Code is named on the command line, because recipes are shared.
        policies = [f"{self.out / 'weak'}/*/step-*", *placed(robot.weak_code)]
        env = ["--set", f"truth.env={robot.address}", "--set", f"truth.k={robot.every}"]
        env += ["--set", f"policies={json.dumps(policies)}"]
        self._stage(
            "collect",
            ["data", "collect", path, *env, "--jobs", self.jobs, "--out", self.out / "rollouts"],
        )

    def learn(self) -> None:
        """Learn everything that a ranking needs."""
        rollouts = [self.out / "rollouts", *self.also]
        minutes = self.robot.minutes
        time = [] if minutes is None else ["--minutes", f"{minutes:g}"]
        self._stage(
            "learn",
            [
                "learn", self.demos, *(w for one in rollouts for w in ("--rollouts", one)),
                "--map", self.map, *time, "--jobs", self.jobs,
                *self.robot.learn, "--out", self.out / "lab",
            ],
        )  # fmt: skip

    def test(self) -> None:
        """Train the policies to rank."""
        path = self._recipe(self.out / "test.yaml", self.sets[1](self.robot))
        self._train("test", path)

    def develop(self) -> None:
        """Compare the weak policies, from starts that the comparison of the others never uses."""
        self._rank("develop", "weak", self.robot.weak_code, DEVELOP_SEED)

    def rank(self) -> None:
        """Rank the test policies, and compare with the simulator."""
        self._rank("rank", "test", self.robot.code, TEST_SEED)

    def row(self, stage: str) -> dict[str, Any]:
        """What a comparison found, and what it took to get there."""
        stages, judge = self._kept(), read_json(self.out / "lab/judge/judge.json")
        return {
            "robot": self.robot.name,
            "why": self.robot.why,
            "target": dict(zip(MEASURES, self.robot.target, strict=True)),
            **found_by(self.out / stage),
            "judge": judge["left_out_families"],
            "cpu_minutes": {name: round(one["cpu_s"] / 60, 2) for name, one in stages.items()},
            "commands": len(stages),
            "words": {name: one["words"] for name, one in stages.items()},
        }

    def _train(self, name: str, recipe: Path) -> None:
        data = [w for one in (self.demos, *self.also) for w in ("--data", one)]
        self._stage(
            name,
            [
                "policy", "train", recipe, *data, "--map", self.map, "--jobs", self.jobs,
                "--out", self.out / name,
            ],
        )  # fmt: skip

    def _rank(self, stage: str, trained: str, code: Sequence[str], first_seed: int) -> None:
        policies = [f"{self.out / trained}/{self.robot.checkpoints}", *placed(code)]
        self._stage(
            stage,
            [
                "rank", self.out / "lab", *(w for one in policies for w in ("--policies", one)),
                "--truth", self.robot.address, "--starts", self.robot.starts,
                "--set", f"first_seed={first_seed}", "--jobs", self.jobs, *self.robot.rank,
                "--out", self.out / stage,
            ],
        )  # fmt: skip

    def _stage(self, name: str, words: Sequence[Any]) -> None:
        """Run a command unless it has run; note what it took."""
        told = [str(word) for word in words]
        if self._kept().get(name, {}).get("words") == told:
            return
        print(f"{name}: worldeval {' '.join(told)}", flush=True)
        clock, cpu = perf_counter(), spent()
        self.call(told)
        took = {"cpu_s": round(spent() - cpu, 1), "wall_s": round(perf_counter() - clock, 1)}
        write_json(self.out / "stages.json", {**self._kept(), name: {"words": told, **took}})

    def _kept(self) -> dict[str, Any]:
        path = self.out / "stages.json"
        return dict(read_json(path)) if path.is_file() else {}

    def _recipe(self, path: Path, content: Mapping[str, Any]) -> Path:
        path.write_text(yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True))
        return path


def weak_policies(robot: Robot) -> dict[str, Any]:
    """Twelve checkpoints of six lineages, from one half of the demonstrations."""
    most = robot.steps
    return _set(
        robot,
        fold=(0, 2),
        lineages=[
            _lineage("weak-plain", 101, steps=most // 2, save_at=[0.06, 0.2, 0.5, 1]),
            _lineage("weak-few", 102, per_task=4, steps=most // 4, save_at=[0.3, 1]),
            _lineage("weak-flow", 103, head="flow", steps=most // 2, save_at=[0.3, 1]),
            _poor(robot, "weak-poor", 104, steps=most // 3, save_at=[0.4, 1], per_task=3),
            _lineage(
                "weak-biased", 105, misleads=True, steps=most // 2, save_at=[1],
                labels={"bias": [-0.7 * each for each in robot.bias]},
            ),
            _lineage(
                "weak-noisy", 106, misleads=True, steps=most // 3, save_at=[1],
                labels={"noise": 0.7 * robot.noise},
            ),
        ],
    )  # fmt: skip


def policies_to_rank(robot: Robot) -> dict[str, Any]:
    """Fifteen checkpoints of eight lineages, from the other half of the demonstrations."""
    most = robot.steps
    return _set(
        robot,
        fold=(1, 2),
        lineages=[
            _lineage("bc", 301, steps=most, save_at=[0.05, 0.15, 0.4, 1]),
            _lineage("bc-few", 302, per_task=6, steps=most // 2, save_at=[0.2, 1]),
            _lineage("flow", 303, head="flow", misleads=True, steps=most, save_at=[0.3, 1]),
            _lineage("diffusion", 304, head="diffusion", misleads=True, steps=most,
                     save_at=[0.4, 1], ema=0.995),
            _poor(robot, "bc-poor", 305, steps=most // 2, save_at=[0.5, 1], per_task=2),
            _lineage("bc-biased", 306, misleads=True, steps=most // 2, save_at=[1],
                     labels={"bias": list(robot.bias)}),
            _lineage("bc-noisy", 307, steps=most // 2, save_at=[1],
                     labels={"noise": robot.noise}),
            _lineage("bc-blind", 308, steps=most // 3, save_at=[1], blind=True),
        ],
    )  # fmt: skip


def _set(robot: Robot, *, fold: tuple[int, int], lineages: list[dict[str, Any]]) -> dict[str, Any]:
    policy: dict[str, Any] = {
        "fold": list(fold),
        "chunk": robot.chunk,
        "demos": [{"sources": list(robot.experts)}],
        "validation_sources": list(robot.experts),
    }
    if robot.size is not None:
        policy["size"] = list(robot.size)
    policy |= robot.policy
    lineages = [lineage for lineage in lineages if lineage["name"] not in robot.without]
    for lineage in lineages:
        for group in lineage["change"].get("demos", ()):
            group.setdefault("sources", list(robot.experts))
    return {"kind": "policy-set", "policy": policy, "lineages": lineages}


def _lineage(
    name: str, seed: int, *, steps: int, save_at: Sequence[float], misleads: bool = False,
    per_task: int | None = None, ema: float = 0.0, **change: Any,
) -> dict[str, Any]:  # fmt: skip
    kept = [max(1, round(share * steps)) for share in save_at]
    trainer: dict[str, Any] = {"steps": steps, "save_at": kept}
    if ema:
        trainer["ema"] = ema
    change = {**change, "trainer": trainer}
    if per_task is not None:
        change["demos"] = [{"per_task": per_task}]
    return {"name": name, "seed": seed, "misleads": misleads, "change": change}


def _poor(
    robot: Robot, name: str, seed: int, *, steps: int, save_at: Sequence[float], per_task: int
) -> dict[str, Any]:
    """A lineage that imitates poor drivers, whatever came of it, or very few good ones."""
    made = _lineage(name, seed, steps=steps, save_at=save_at, misleads=True)
    group = {"sources": list(robot.poor), "success": None} if robot.poor else {"per_task": per_task}
    made["change"]["demos"] = [group]
    return made


def found_by(run: Path) -> dict[str, Any]:
    """Agreement with the simulator, gates and rates of a `rank --truth` run."""
    found = read_summary(run)
    agreement, details = found.agreement, found.agreement_details
    pairs = details.policies if details else {}
    rows = found.ranking.policies if found.ranking else ()
    held = [
        low <= real <= high
        for row in rows
        if (of := row.predictive) is not None
        and (low := of.low) is not None
        and (high := of.high) is not None
        and row.policy in pairs
        and (real := pairs[row.policy].real) is not None
    ]
    return {
        "policies": found.policies,
        "lineages": found.lineages,
        "agreement": {
            name: asdict(value)
            for name in ("pearson", "spearman", "mmrv")
            if agreement is not None and (value := getattr(agreement, name)) is not None
        },
        "mean_absolute_error": asdict(details.mae) if details and details.mae else None,
        "ceiling": {k: asdict(v) for k, v in agreement.ceiling.items()} if agreement else {},
        "baselines": {name: dict(each) for name, each in found.baselines.items()},
        "groups": {name: dict(each) for name, each in found.groups.items()},
        "gates": {name: asdict(each) for name, each in found.gates.items()},
        "intervals_hold": f"{sum(held)} of {len(held)}",
        "rates": {name: [pair.predicted, pair.real] for name, pair in pairs.items()},
        "refusals": [each.code for each in found.refusals],
        "errors": dict(found.errors),
    }


def placed(addresses: Sequence[str]) -> list[str]:
    """Addresses of code in this folder."""
    return [each.replace("{here}", str(Path(__file__).parent)) for each in addresses]


def keep(row: Mapping[str, Any], path: Path) -> None:
    """Put a row into the results, in place of an earlier one of the same robot."""
    rows = read_json(path)["robots"] if path.is_file() else []
    write_json(path, {"robots": [*(one for one in rows if one["robot"] != row["robot"]), row]})


def in_own_process(words: Sequence[str]) -> None:
    """Run `worldeval` as a user does."""
    here = Path(__file__).parent
    given = os.environ.get("PYTHONPATH", "")
    paths = os.pathsep.join(filter(None, [str(here.parent), str(here), given]))
    env = {**os.environ, "PYTHONPATH": paths}
    done = subprocess.run([sys.executable, "-m", "worldeval", *words], env=env, check=False)
    if done.returncode:
        raise SystemExit(f"worldeval {' '.join(words)}: exit status {done.returncode}")


def spent() -> float:
    """CPU seconds of this process and of those that it has waited for."""
    parts = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(part.ru_utime + part.ru_stime for part in parts)


if __name__ == "__main__":
    main()
