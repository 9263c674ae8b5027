"""Families of world model at similar training time, on held-out episodes: one table.

    python benchmarks/families.py --data runs/data/metaworld --minutes 5
    python benchmarks/families.py --data runs/data/metaworld --weak runs/data/weak --minutes 5 \\
        --rank metaworld-dev --real runs/dev/outcomes/truth.csv --starts 6 --parallel 2 \\
        --tokenizer-from runs/world/latent

Every family gets the same data, the same tokenizer and latents, and the same CPU-minutes for its
base (--minutes; family_steps.py turns them into steps of the recipe). With --weak it goes on to
folds and their mean; with --rank a judge is trained for each world, and a protocol's policies are
ranked against --real (or else the simulator). All of it is done by the verbs of `worldeval`, in
processes of their own whose CPU-seconds are counted.

What is finished in --home is not done again. Each family's row is written as it comes; a family
that fails keeps what it has, says why, and stops no other. Speed and memory are measured by
world_speed.py at the end, when nothing else of this runs. Writes benchmarks/results/families.json.
"""

import argparse
import os
import platform
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from threading import Lock
from typing import Any

import torch
from family_shared import share

from worldeval.config import read_settings
from worldeval.errors import UserError
from worldeval.files import read_json, write_json
from worldeval.recipe import Recipe, load
from worldeval.runs.origin import commit_of, open_run
from worldeval.runs.paths import RunPaths

FAMILIES = ("latent", "dit-tiny", "uwm-tiny", "rssm-tiny", "ctrl-world-tiny")
ADAPT = 0.3  # of the base's steps, in every fold of every family
HORIZONS = (1, 5, 10, 20)
INTERRUPTED = (130, -signal.SIGINT)
HERE = Path(__file__).parent
WORLDEVAL = [sys.executable, "-m", "worldeval"]
SPEED = [sys.executable, str(HERE / "world_speed.py")]
STEPS = [sys.executable, str(HERE / "family_steps.py")]
LATER = ("families", "rank", "rank_set", "real", "starts", "parallel", "threads")  # may change


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weak", type=Path, nargs="*", default=[])
    parser.add_argument("--families", nargs="+", default=list(FAMILIES), help="model recipes")
    parser.add_argument("--minutes", type=float, default=10.0, help="of the CPU, for each base")
    parser.add_argument("--tokenizer-from", type=Path, help="a world that has the tokenizer")
    parser.add_argument("--episodes", type=int, default=60, help="held-out episodes compared")
    parser.add_argument("--rank", help="a protocol recipe; needs --weak")
    parser.add_argument("--real", type=Path, help="CSV of true outcomes, instead of the simulator")
    parser.add_argument("--starts", type=int, help="starts a task in the ranking")
    parser.add_argument("--parallel", type=int, default=1, help="families trained at a time")
    parser.add_argument("--threads", type=int, help="of each; default: the cores shared out")
    parser.add_argument("--home", type=Path, default=Path("runs/families"))
    parser.add_argument("--out", type=Path, default=HERE / "results/families.json")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], help="override a key of every recipe")
    parser.add_argument("--judge-set", action="append", default=[], help="... of the judge's")
    parser.add_argument("--rank-set", action="append", default=[], help="... of the protocol")
    args = parser.parse_args()
    if args.rank and not args.weak:
        parser.error("--rank needs --weak: judges learn from roll-outs of weak policies")
    cores = os.cpu_count() or 1
    args.threads = args.threads or max(1, cores // args.parallel)
    recipes = [load(name, "model", read_settings(args.set)) for name in args.families]
    settings = {key: value for key, value in vars(args).items() if key not in ("home", "out")}
    command = f"python {shlex.join(sys.argv)}"
    plain = {key: _plain(value) for key, value in settings.items()}
    open_run(args.home, recipe=plain, seed=args.seed, command=command, resume=True, free=LATER)
    results = Results(
        out=args.out,
        about={
            "command": command,
            "commit": commit_of(HERE.parent),  # before hours of work: what ran
            "machine": f"{cores} CPU cores, {platform.machine()}",
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
            "threads": args.threads,
            "seed": args.seed,
            "cpu_minutes_of_base": args.minutes,
            "data": str(args.data),
        },
        order=[found.name for found in recipes],
    )
    torch.set_num_threads(args.threads)
    share(recipes, args)
    first = [train, compare, *([judge_and_rank] if args.rank else [])]

    def work(found: Recipe) -> str:
        why = attempt(found, args, first)
        results.take(row_of(found, args, why))
        return why

    pool = ThreadPoolExecutor(args.parallel)  # threads that wait for processes
    try:
        reasons = list(pool.map(work, recipes))
    finally:  # after Ctrl-C no other family begins
        pool.shutdown(cancel_futures=True)
    for found, why in zip(recipes, reasons, strict=True):
        reason = "; ".join(filter(None, (why, attempt(found, args, [measure_speed]))))
        results.take(row_of(found, args, reason))
    print(table(results.rows()))
    if any(row["failed"] for row in results.rows()):
        raise SystemExit(1)


class Results:
    """The rows so far, on the disk as soon as they are known."""

    def __init__(self, *, out: Path, about: dict[str, Any], order: list[str]) -> None:
        self.out, self.about, self.order = out, about, order
        self.found: dict[str, dict[str, Any]] = {}
        self.lock = Lock()

    def take(self, row: dict[str, Any]) -> None:
        """Keep a family's row, or put it in the place of its earlier one."""
        with self.lock:
            self.found[row["recipe"]] = row
            write_json(self.out, {**self.about, "families": self.rows()})
            print(table([row]), flush=True)

    def rows(self) -> list[dict[str, Any]]:
        """In the order asked for."""
        return [self.found[name] for name in self.order if name in self.found]


class Failed(Exception):
    """A verb that ended badly, in words."""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A family's folder: what is done in it, and what it cost."""

    folder: Path
    threads: int

    def done(self, stage: str, command: list[str], result: Path) -> None:
        """Run `command` unless its `result` is there; what it prints goes to `<stage>.log`."""
        if result.is_file():
            return
        environment = {**os.environ, "OMP_NUM_THREADS": str(self.threads)}
        with (self.folder / f"{stage}.log").open("a") as log:
            print(f"$ {shlex.join(command)}", file=log, flush=True)
            process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
            _, status, usage = os.wait4(process.pid, 0)  # with what its own processes used
            process.returncode = os.waitstatus_to_exitcode(status)
        kept = self.costs()
        before = kept.get(stage, {"cpu_seconds": 0.0, "peak_memory_mib": 0.0})
        kept[stage] = {
            "cpu_seconds": before["cpu_seconds"] + usage.ru_utime + usage.ru_stime,
            "peak_memory_mib": max(before["peak_memory_mib"], usage.ru_maxrss / 1024),
        }
        write_json(self.folder / "costs.json", kept)
        if process.returncode in INTERRUPTED:
            raise KeyboardInterrupt
        if process.returncode:
            last = Path(log.name).read_text().splitlines()[-1]
            raise Failed(f"{stage}: exit status {process.returncode}: {last}")

    def costs(self) -> dict[str, dict[str, float]]:
        """stage -> CPU-seconds (interrupted attempts too) and the largest process."""
        path = self.folder / "costs.json"
        return read_json(path) if path.is_file() else {}


Stage = Callable[[Recipe, Bench, argparse.Namespace], None]


def attempt(found: Recipe, args: argparse.Namespace, stages: Sequence[Stage]) -> str:
    """Do what is missing of some stages. Gives the reasons of those that failed, '' for none."""
    bench, reasons = bench_of(found, args), []
    for stage in stages:
        try:
            if stage is train or (bench.folder / "world.json").is_file():
                stage(found, bench, args)
        except (Failed, UserError, OSError) as error:
            print(f"{found.name}: {error}", file=sys.stderr, flush=True)
            reasons.append(str(error))
    return "; ".join(reasons)


def bench_of(found: Recipe, args: argparse.Namespace) -> Bench:
    """The folder of a family, made if it is not there."""
    folder = args.home / found.name
    folder.mkdir(parents=True, exist_ok=True)
    return Bench(folder=folder, threads=args.threads)


def train(found: Recipe, bench: Bench, args: argparse.Namespace) -> None:
    """As many steps as the time is worth, by `worldeval train`."""
    shared = args.home / "shared"
    data = ["--data", str(args.data)]
    sets = [word for each in args.set for word in ("--set", each)]
    seed = ["--seed", str(args.seed)]
    told = bench.folder / "steps.json"
    trial = [*STEPS, found.name, *data, *seed, *sets]
    trial += ["--home", str(shared), "--minutes", str(args.minutes), "--out", str(told)]
    bench.done("steps", [*trial, "--threads", str(args.threads)], told)
    steps = read_json(told)
    for path in shared.iterdir():  # tokenizer and latents, for `worldeval train` to find
        place = bench.folder / path.name
        if path.suffix in {".safetensors", ".npy"} and not place.exists():
            place.symlink_to(path.resolve())
    weak = [word for each in args.weak for word in ("--weak", str(each))]
    changed = {"trainer.steps": steps["steps"], "adapt_share": ADAPT}
    if steps["hand_steps"]:  # a family may predict poses itself
        changed["kinematics.trainer.steps"] = steps["hand_steps"]
    for key, value in changed.items():
        sets += ["--set", f"{key}={value}"]
    # Folds take the cores left over by --jobs: one thread each, however many families train.
    jobs = ["--jobs", str(os.cpu_count() or 1)]
    command = [*WORLDEVAL, "train", "--model", found.name, *data, *weak, *jobs, *seed, *sets]
    bench.done("train", [*command, "--out", str(bench.folder)], bench.folder / "world.json")


def compare(found: Recipe, bench: Bench, args: argparse.Namespace) -> None:
    """Pictures, action following and memory on held-out episodes, by `worldeval fidelity`."""
    out = bench.folder / "fidelity.json"
    command = [*WORLDEVAL, "fidelity", str(bench.folder), str(args.data)]
    command += ["--horizons", ",".join(map(str, HORIZONS)), "--episodes", str(args.episodes)]
    bench.done("fidelity", [*command, "--seed", str(args.seed), "--out", str(out)], out)


def judge_and_rank(found: Recipe, bench: Bench, args: argparse.Namespace) -> None:
    """A judge for this world, and how well it ranks the protocol's policies in it."""
    judge, run = bench.folder / "judge", bench.folder / "rank"
    seed = ["--seed", str(args.seed)]
    command = [*WORLDEVAL, "judge", "train", "--world", str(bench.folder), "--data", str(args.data)]
    command += [word for each in args.weak for word in ("--weak", str(each))]
    command += [word for each in args.judge_set for word in ("--set", each)]
    command += [*seed, "--world-seed", str(args.seed), "--out", str(judge)]
    bench.done("judge", command, judge / "judge.json")
    command = [*WORLDEVAL, "rank", args.rank, "--world", str(bench.folder), "--judge", str(judge)]
    command += ["--real", str(args.real)] if args.real else ["--truth"]
    command += ["--starts", str(args.starts)] if args.starts else []
    command += [word for each in args.rank_set for word in ("--set", each)]
    command += ["--jobs", str(args.threads), "--films", "0", *seed, "--out", str(run)]
    bench.done("rank", command, RunPaths(run).summary)


def measure_speed(found: Recipe, bench: Bench, args: argparse.Namespace) -> None:
    """Imagined frames a second on all cores, and peak memory."""
    out = bench.folder / "speed.json"
    command = [*SPEED, str(bench.folder), "--out", str(out)]
    alone = replace(bench, threads=os.cpu_count() or 1)
    alone.done("speed", [*command, "--threads", str(alone.threads)], out)


def row_of(found: Recipe, args: argparse.Namespace, failed: str) -> dict[str, Any]:
    """What is known of a family; None for what was not asked for, or failed."""
    bench = bench_of(found, args)
    steps, speed, fidelity, rank = (
        read_json(path) if path.is_file() else None
        for path in (
            bench.folder / "steps.json",
            bench.folder / "speed.json",
            bench.folder / "fidelity.json",
            RunPaths(bench.folder / "rank").summary,
        )
    )
    return {
        "recipe": found.name,
        "family": found.kind,
        "failed": failed,
        "training": steps,
        "costs": bench.costs(),
        "speed": speed and speed["worlds"][0],
        **(summary(fidelity) if fidelity else {}),
        "ranking": rank and rank["agreement"],
    }


def summary(found: dict[str, Any]) -> dict[str, Any]:
    """Means over views of picture quality by horizon, and whether actions are followed."""
    pictures, actions = found["pictures"] or {}, found["action_following"]
    quality = {
        each: {
            f"h{horizon}": mean(view[f"h{horizon}"][each]["value"] for view in pictures.values())
            for horizon in HORIZONS
            if pictures and all(f"h{horizon}" in view for view in pictures.values())
        }
        for each in ("psnr", "ssim", "copied_psnr", "copied_ssim", "ceiling_psnr")
    }
    told = actions["inverse_dynamics_mm"]
    return {
        "episodes": found["episodes"],
        "pictures": quality,
        "latents": found["latents"],
        "inverse_dynamics_mm": {name: told[name]["value"] for name in told},
        "actions": actions["actions"],
        "memory": found["memory"],
        "not_measured": found["not_measured"],
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    head = ["family", "steps", "CPU-min", "PSNR 1/5/10/20", "SSIM 1/5/10/20"]
    head += ["hand read back (mm)", "shuffled actions change, h10", "Pearson", "Spearman"]
    head += ["frames/s", "MiB"]
    out = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        out.append("| " + " | ".join(cells(row)) + " |")
        if row["failed"]:
            out.append(f"| ... failed: {row['failed']} |" + " |" * (len(head) - 1))
    return "\n".join(out)


def cells(row: dict[str, Any]) -> list[str]:
    """A row's cells; empty where nothing was measured."""
    steps, speed, rank = row["training"], row["speed"], row["ranking"] or {}
    trained = row["costs"].get("train")
    found = [
        row["recipe"],
        str(steps["steps"]) if steps else "",
        f"{trained['cpu_seconds'] / 60:.1f}" if trained else "",
    ]
    if "pictures" in row:
        told = row["inverse_dynamics_mm"]
        shuffled = row["actions"].get("shuffled", {}).get("h10", {}).get("change")
        found += [
            " / ".join(f"{value:.1f}" for value in row["pictures"]["psnr"].values()),
            " / ".join(f"{value:.3f}" for value in row["pictures"]["ssim"].values()),
            f"{told['imagined']:.1f} (recorded {told['recorded']:.1f}, still {told['still']:.1f})",
            f"{shuffled['value']:.2f}" if shuffled else "",
        ]
    else:
        found += [""] * 4
    found += [_estimate(rank.get(name)) for name in ("pearson", "spearman")]
    return [
        *found,
        f"{speed['frames_per_second']:,.0f}" if speed else "",
        f"{speed['peak_memory_mib']:,.0f}" if speed else "",
    ]


def _estimate(found: dict[str, Any] | None) -> str:
    if not found or found["value"] is None:
        return ""
    interval = "" if found["low"] is None else f" [{found['low']:.2f}, {found['high']:.2f}]"
    return f"{found['value']:.3f}{interval}"


def _plain(value: Any) -> Any:
    """An option as YAML has it."""
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return str(value) if isinstance(value, Path) else value


if __name__ == "__main__":
    main()
