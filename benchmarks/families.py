"""Families of world model at similar training time, on held-out episodes: one table.

    python benchmarks/families.py --data runs/data/metaworld --minutes 10
    python benchmarks/families.py --data runs/data/metaworld --weak runs/data/weak --minutes 10 \\
        --rank metaworld-dev --real runs/dev/outcomes/truth.csv

Every family trains its dynamics for `--minutes` on this machine, on the same tokenizer and the same
episodes: a few steps are timed, and the recipe's schedule is stretched or cut to fit. With --weak
it goes on to folds and their mean, as `worldeval train` does; with --rank a judge is trained for
each world and a protocol's policies are ranked, against --real (or else the simulator). What is
finished in --home is not done again. Fidelity is measured as `worldeval fidelity` does, speed and
memory by world_speed.py in a process of its own. Writes benchmarks/results/families.json.
"""

import argparse
import os
import platform
import shlex
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import mean
from time import perf_counter
from typing import Any

import torch

from worldeval.recipe import Recipe, load
from worldeval.run import commit_of, read_json, write_json
from worldeval.world.families import Fitting, family
from worldeval.world.fidelity_report import measure
from worldeval.world.load import new_world
from worldeval.world.pipeline import train_world
from worldeval.world.prepare import Prepared, prepare

FAMILIES = ("latent", "dit-tiny", "uwm-tiny", "rssm-tiny", "ctrl-world-tiny")
TRIAL = 41  # steps timed; progress is told every 20, and the first 20 warm up
HORIZONS = (1, 5, 10, 20)
HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weak", type=Path, nargs="*", default=[])
    parser.add_argument("--families", nargs="+", default=list(FAMILIES), help="model recipes")
    parser.add_argument("--minutes", type=float, default=10.0, help="of dynamics training, base")
    parser.add_argument("--episodes", type=int, default=60, help="held-out episodes compared")
    parser.add_argument("--rank", help="a protocol recipe; needs --weak")
    parser.add_argument("--real", type=Path, help="CSV of true outcomes, instead of the simulator")
    parser.add_argument("--starts", type=int, help="starts a task in the ranking")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--home", type=Path, default=Path("runs/families"))
    parser.add_argument("--out", type=Path, default=HERE / "results/families.json")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], help="override a key of every recipe")
    args = parser.parse_args()
    if args.rank and not args.weak:
        parser.error("--rank needs --weak: judges learn from roll-outs of weak policies")
    torch.set_num_threads(args.threads)
    commit = commit_of(HERE.parent)  # before hours of work: what ran
    shared = load("latent", "model", args.set).config.tokenizer
    rows = []
    for name in args.families:
        found = with_tokenizer(load(name, "model", args.set), shared)
        print(f"== {name}", flush=True)
        rows.append(one(found, args))
        write_json(
            args.out,
            {
                "command": f"python {shlex.join(sys.argv)}",
                "commit": commit,
                "machine": f"{os.cpu_count()} CPU cores, {platform.machine()}",
                "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
                "threads": args.threads,
                "seed": args.seed,
                "minutes": args.minutes,
                "data": str(args.data),
                "families": rows,
            },
        )
    print(table(rows))


def with_tokenizer(found: Recipe, tokenizer: Any) -> Recipe:
    """The recipe with the tokenizer that all families share."""
    return replace(found, config=replace(found.config, tokenizer=tokenizer))


def one(found: Recipe, args: argparse.Namespace) -> dict[str, Any]:
    """A family trained and measured."""
    folder = args.home / found.name
    prepared = prepare(found.config, args.data, args.weak, args.home, seed=args.seed, report=report)
    trained = folder / "trained.json"
    if not trained.is_file():
        steps, rate = steps_for(found, prepared, minutes=args.minutes, seed=args.seed)
        config = replace(found.config, trainer=replace(found.config.trainer, steps=steps))
        begin = perf_counter()
        train_world(config, prepared, folder, kind=found.kind, seed=args.seed, report=report)
        spent = (perf_counter() - begin) / 60
        write_json(trained, {"steps": steps, "steps_per_second": rate, "minutes": spent})
    speed = folder / "speed.json"
    if not speed.is_file():
        command = [sys.executable, str(HERE / "world_speed.py"), str(folder)]
        options = ["--threads", str(args.threads), "--out", str(speed)]
        subprocess.run([*command, *options], check=True)
    fidelity = folder / "fidelity.json"
    if not fidelity.is_file():
        content = measure(
            folder, args.data, horizons=HORIZONS, episodes=args.episodes, seed=args.seed
        )
        write_json(fidelity, content)
    row = {
        "recipe": found.name,
        "family": found.kind,
        "training": read_json(trained),
        "speed": {key: value for key, value in read_json(speed).items() if key in SPEED},
        **summary(read_json(fidelity)),
        "ranking": ranked(folder, args) if args.rank else None,
    }
    print(table([row]), flush=True)
    return row


SPEED = ("frames_per_second", "peak_memory_mib", "parameters", "batch", "sampler_steps")


def steps_for(found: Recipe, prepared: Prepared, *, minutes: float, seed: int) -> tuple[int, float]:
    """Steps of dynamics training that take `minutes` here, and how many there are a second."""
    config = found.config
    brief = replace(
        config,
        trainer=replace(config.trainer, steps=TRIAL),
        kinematics=replace(config.kinematics, trainer=replace(config.kinematics.trainer, steps=1)),
    )
    own = family(found.kind)
    torch.manual_seed(seed)
    world = new_world(found.kind, prepared.spec, brief)
    world.tokenizer = prepared.tokenizer
    clock: dict[int, float] = {}

    def timed(stage: str, steps: int) -> Any:
        def progress(step: int, loss: float) -> None:
            if steps == TRIAL:
                clock[step] = perf_counter()

        return progress

    with tempfile.TemporaryDirectory() as folder:
        own.fit(
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
    rate = 20 / (clock[40] - clock[20])
    return max(TRIAL, round(60 * minutes * rate)), rate


def ranked(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """A judge for this world, and how well it ranks the protocol's policies in it."""
    judge, run = folder / "judge", folder / "rank"
    base = [sys.executable, "-m", "worldeval"]
    if not (judge / "judge.json").is_file():
        data = ["--world", str(folder), "--data", str(args.data)]
        weak = [word for each in args.weak for word in ("--weak", str(each))]
        seeds = ["--seed", str(args.seed), "--world-seed", str(args.seed)]
        subprocess.run(
            [*base, "judge", "train", *data, *weak, *seeds, "--out", str(judge)], check=True
        )
    truth = ["--real", str(args.real)] if args.real else ["--truth"]
    starts = ["--starts", str(args.starts)] if args.starts else []
    where = ["--world", str(folder), "--judge", str(judge), "--out", str(run), "--films", "0"]
    subprocess.run(
        [*base, "rank", args.rank, *where, *truth, *starts, "--seed", str(args.seed)], check=True
    )
    return read_json(run / "summary.json")["agreement"]


def summary(found: dict[str, Any]) -> dict[str, Any]:
    """Means over views of picture quality by horizon, and whether actions are followed."""
    pictures, actions = found["pictures"], found["action_following"]
    quality = {
        each: {
            f"h{horizon}": mean(view[f"h{horizon}"][each]["value"] for view in pictures.values())
            for horizon in HORIZONS
            if all(f"h{horizon}" in view for view in pictures.values())
        }
        for each in ("psnr", "ssim", "copied_psnr", "copied_ssim", "ceiling_psnr")
    }
    told = actions["inverse_dynamics_mm"]
    return {
        "episodes": found["episodes"],
        "pictures": quality,
        "latents": found["latents"],
        "inverse_dynamics_mm": {name: told[name]["value"] for name in told},
        "actions_at_h10": {
            name: row["h10"] for name, row in actions["actions"].items() if "h10" in row
        },
        "memory": found["memory"],
        "not_measured": found["not_measured"],
    }


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    head = ["family", "steps", "PSNR 1/5/10/20", "SSIM 1/5/10/20", "hand read back (mm)"]
    head += ["shuffled actions change", "Pearson", "frames/s", "MiB"]
    out = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        told, rank = row["inverse_dynamics_mm"], row["ranking"]
        shuffled = row["actions_at_h10"].get("shuffled", {}).get("change")
        cells = [
            row["recipe"],
            str(row["training"]["steps"]),
            " / ".join(f"{value:.1f}" for value in row["pictures"]["psnr"].values()),
            " / ".join(f"{value:.3f}" for value in row["pictures"]["ssim"].values()),
            f"{told['imagined']:.1f} (recorded {told['recorded']:.1f}, still {told['still']:.1f})",
            f"{shuffled['value']:.2f}" if shuffled else "",
            f"{rank['pearson']['value']:.3f}" if rank else "",
            f"{row['speed']['frames_per_second']:,.0f}",
            f"{row['speed']['peak_memory_mib']:,.0f}",
        ]
        out.append("| " + " | ".join(cells) + " |")
    return "\n".join(out)


def report(stage: str, steps: int) -> Any:
    """Progress as a line now and then."""
    begin = perf_counter()

    def progress(step: int, loss: float) -> None:
        if step % 500 == 0:
            spent = perf_counter() - begin
            print(f"{stage} {step}/{steps} loss {loss:.4f} {spent:.0f} s", flush=True)

    return progress


if __name__ == "__main__":
    main()
