"""What improvement in imagination is worth in the simulator, which it never saw.

    python benchmarks/improve.py improve --origin runs/policies/improve/improve-mixed/step-2400
    python benchmarks/improve.py measure
    python benchmarks/improve.py table

`improve` makes every method's policy from one starting policy: `sft`, `rl`, `pa`, `qgf`, `expo` and
`sac`, and two controls with as many gradient steps as `sft`: `more-bc` (the original demonstrations
alone) and `unfiltered` (one imagined try from every start, whatever came of it). `search` trains
nothing. With `--leave-out`, a member of the judge takes no part in any method. `measure` runs
them all in the simulator from the same starts, which nothing else has used; `table` compares each
with the starting policy, paired by start, beside the gain that imagination promised, according to
the optimised judge and to the one that was left out, and writes benchmarks/results/improve.json (or
`--result`). Every step goes on where it stopped; a method that was made with other settings is
refused, so that no outcome is taken for another policy's.
"""

import argparse
import os
import platform
import resource
import subprocess
import sys
from itertools import product
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd

from worldeval.errors import UserError
from worldeval.evaluate.truth import load_one
from worldeval.files import read_json, write_json
from worldeval.improve.guard import paired_difference
from worldeval.rollout.recipe import TruthRecipe
from worldeval.rollout.simulate import TruthJob, TruthOutcome, simulate
from worldeval.runs.origin import commit_of
from worldeval.runs.paths import RunPaths
from worldeval.runs.tables import read_table, write_table
from worldeval.stats import rate

STARTS = range(730_000, 730_100)  # reset seeds that nothing but this measurement uses
BLOCK = 50  # episodes to a process
# Where the starting policy succeeds 20 to 60 times in 100, on reset seeds 720000-720039.
TASKS = ("drawer-open-v3", "door-open-v3", "window-open-v3", "faucet-open-v3")
RESULT = Path("benchmarks/results/improve.json")
# What each method changes in its shipped recipe.
METHODS: dict[str, tuple[str, list[str]]] = {
    "sft": ("sft", []),
    "unfiltered": (
        "sft",
        ["tries=1", "trust.probability=0", "trust.disagreement=1", "best=0", "keep=last"],
    ),
    "more-bc": ("sft", ["ratio=1", "keep=last"]),
    "rl": ("rl", []),
    "rl-diwa": ("rl", ["bc=0.05"]),  # held near the first policy by DiWA's own weight
    "search": ("search", []),
    "pa": ("pa", []),
    "qgf": ("qgf", []),
    "expo": ("expo", []),
    "sac": ("sac", []),
}
CONTROLS = ("more-bc", "unfiltered")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("step", choices=("improve", "measure", "table"))
    parser.add_argument("--origin", type=Path, help="The starting policy's checkpoint.")
    parser.add_argument("--data", type=Path, default=Path("runs/data/metaworld"))
    parser.add_argument("--out", type=Path, default=Path("runs/improve"))
    parser.add_argument("--tasks", nargs="+", default=list(TASKS))
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--set", dest="sets", nargs="*", default=[], help="METHOD:key=value")
    parser.add_argument(
        "--leave-out", action="store_true", help="Leave a member of the judge out of every method."
    )
    parser.add_argument("--result", type=Path, default=RESULT)
    parser.add_argument("--first-seed", type=int, default=STARTS.start)
    parser.add_argument("--starts", type=int, default=len(STARTS))
    parser.add_argument("--skip", nargs="*", default=[], help="Not to be measured now.")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    {"improve": improve, "measure": measure, "table": table}[args.step](args)


def improve(args: argparse.Namespace) -> None:
    """Make every method's policy; what is there already stays."""
    if args.origin is None:
        raise UserError("Which policy is to be improved? Give --origin CHECKPOINT.")
    write_json(args.out / "origin.json", {"origin": str(args.origin)})
    for method in args.methods:
        folder, (verb, changes) = args.out / method, METHODS[method]
        given = [each.split(":", 1)[1] for each in args.sets if each.startswith(f"{method}:")]
        command = [sys.executable, "-m", "worldeval", "improve", verb, f"improve-{verb}"]
        command += ["--policy", str(args.origin), "--data", str(args.data), "--out", str(folder)]
        command += [word for task in args.tasks for word in ("--task", task)]
        guard = ["leave_out=true"] if args.leave_out else []
        command += [word for each in (*changes, *guard, *given) for word in ("--set", each)]
        command += ["--seed", str(args.seed)]
        shown = " ".join(["worldeval", *command[3:]])
        if (folder / "minutes.json").is_file():
            made = read_json(folder / "minutes.json")["command"]
            if made != shown:
                raise UserError(
                    f"{folder} was made by `{made}`, which is not `{shown}`. Give another --out."
                )
            continue
        began, used = perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True)
        spent = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = spent.ru_utime + spent.ru_stime - used.ru_utime - used.ru_stime
        kept = {"minutes": (perf_counter() - began) / 60, "cpu_minutes": cpu / 60}
        rounded = {name: round(value, 2) for name, value in kept.items()}
        write_json(folder / "minutes.json", {**rounded, "seed": args.seed, "command": shown})


def measure(args: argparse.Namespace) -> None:
    """Success of every policy from the same starts, a CSV for each policy, task and block."""
    seeds = range(args.first_seed, args.first_seed + args.starts)
    blocks = [seeds[begin : begin + BLOCK] for begin in range(0, len(seeds), BLOCK)]
    jobs, paths = [], {}
    for method, ref in policies(args).items():
        for task, block in product(args.tasks, blocks):
            path = RunPaths(args.out).truth / f"{method}-{task}-{block[0]}.csv"
            if path.is_file() or method in args.skip:
                continue
            job = TruthJob(task=task, episodes=tuple((ref, seed) for seed in block), load=load_one)
            jobs.append(job)
            paths[job] = path

    def done(job: TruthJob, found: list[TruthOutcome]) -> None:
        rows = [{"seed": one.seed, "success": int(one.success)} for one in found]
        write_table(paths[job], pd.DataFrame(rows).sort_values("seed"))
        print(paths[job].stem, f"{np.mean([one.success for one in found]):.2f}", flush=True)

    def failed(*what: object) -> None:
        raise SystemExit(f"a policy broke: {what}")

    simulate(
        jobs,
        TruthRecipe(env="metaworld"),
        horizon=30,
        replan_every=2,
        processes=args.processes,
        done=done,
        failed=failed,
    )


def table(args: argparse.Namespace) -> None:
    """Every method beside the starting policy, paired by start."""
    rows = []
    for task in args.tasks:
        before = successes(args.out, "before", task)
        for method in (name for name in policies(args) if name != "before"):
            after = successes(args.out, method, task)
            if before is None or after is None:
                continue
            shared = before.index.intersection(after.index)
            old, new = (each.loc[shared].to_numpy(float) for each in (before, after))
            difference = paired_difference(old[:, None], new[:, None])
            kept = read_json(args.out / method / "minutes.json")
            over = {name: over_control(args.out, method, name, task) for name in CONTROLS}
            rows.append(
                {
                    "task": task,
                    "method": method,
                    "before": rate(int(old.sum()), len(old)).record(),
                    "after": rate(int(new.sum()), len(new)).record(),
                    "difference": difference.record(),
                    "over": {name: found for name, found in over.items() if found},
                    "imagined": imagined(args.out / method, task),
                    "left_out": left_out(args.out / method, task),
                    "steps": gradient_steps(args.out / method),
                    "seed": kept.get("seed", args.seed),
                    "minutes": kept["minutes"],
                    "cpu_minutes": kept.get("cpu_minutes"),
                    "command": kept["command"],
                }
            )
            print(f"{task:<18} {method:<11} {old.mean():.2f} -> {new.mean():.2f}  {difference}")
    origin = read_json(args.out / "origin.json")["origin"]
    about = {
        "origin": origin,
        "machine": f"{os.cpu_count()} CPU cores, {platform.machine()}",
        "commit": commit_of(Path(__file__).resolve().parent.parent),
        "starts": [args.first_seed, args.first_seed + args.starts - 1],
    }
    write_json(args.result, {**about, "rows": rows})


def over_control(out: Path, method: str, control: str, task: str) -> dict[str, Any] | None:
    """How much better than a control, paired by start; None where one of them was not measured."""
    ours, theirs = successes(out, method, task), successes(out, control, task)
    if method in CONTROLS or ours is None or theirs is None:
        return None
    shared = ours.index.intersection(theirs.index)
    old, new = (each.loc[shared].to_numpy(float)[:, None] for each in (theirs, ours))
    return paired_difference(old, new).record()


def policies(args: argparse.Namespace) -> dict[str, str]:
    """The reference of the starting policy, and of every method's that is there."""
    found = {"before": read_json(args.out / "origin.json")["origin"]}
    for method in args.methods:
        folder = args.out / method
        if (folder / "policy.py").is_file():
            found[method] = f"{folder}/policy.py:policy"
        elif (folder / "claim.json").is_file():
            claim = read_json(folder / "claim.json")
            kept = str(folder / "policies" / claim["improved"])
            # Where nothing held up, the policy that is kept is the starting one.
            found[method] = kept if claim["improved"] != claim["origin"] else found["before"]
    return found


def successes(out: Path, method: str, task: str) -> Any:
    """Success by reset seed; None where it was not measured."""
    parts = [read_table(path) for path in sorted(out.glob(f"truth/{method}-{task}-*.csv"))]
    return pd.concat(parts).set_index("seed")["success"] if parts else None


def imagined(folder: Path, task: str) -> dict[str, Any] | None:
    """The gain that imagination promised, on held-out recorded starts; None where it is refused."""
    return read_json(folder / "claim.json")["claim"].get("tasks", {}).get(task)


def left_out(folder: Path, task: str) -> dict[str, Any] | None:
    """The same gain according to the judge that took no part; None where nobody was left out."""
    claim = read_json(folder / "claim.json")["claim"]
    return (claim.get("left_out") or {}).get("tasks", {}).get(task)


def gradient_steps(folder: Path) -> int:
    """Gradient steps of the policy, or of what was learned beside it."""
    if (folder / "rounds.json").is_file():
        return sum(one["steps"] for one in read_json(folder / "rounds.json"))
    for verb in ("rl", "pa", "qgf", "expo", "sac"):
        if (folder / f"{verb}.json").is_file():
            return int(read_json(folder / f"{verb}.json")["steps"])
    return 0


if __name__ == "__main__":
    main()
