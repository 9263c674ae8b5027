"""Every family on a few real episodes: one chunk ahead, against the last frame repeated.

    python benchmarks/droid_chunk.py --data DROID
    python benchmarks/droid_chunk.py --data DROID --families rssm-droid uwm-droid --steps 20

DROID is a folder in Ctrl-World's layout whose latents came with it. Every family trains on the
episodes of its training split as `worldeval train` does, is read back from the disk, and imagines
chunks of --frames frames from every --every-th frame of the episodes held out; the error is the
mean square in standardised latents. Seconds are of the CPU. A row is written as soon as it is
there; a family that fails is a row that says so. Writes benchmarks/results/droid_chunk.json.
"""

import argparse
import os
import platform
import shlex
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from time import process_time
from typing import Any

import torch

from worldeval.config import read_settings
from worldeval.errors import UserError
from worldeval.files import write_json
from worldeval.recipe import Recipe, load
from worldeval.runs.origin import commit_of
from worldeval.world.fidelity.chunk import one_chunk
from worldeval.world.training.pipeline import train_world
from worldeval.world.training.prepare import prepare

FAMILIES = ("latent-droid", "dit-droid", "uwm-droid", "rssm-droid", "ctrl-world-tiny-droid")
HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--families", nargs="+", default=list(FAMILIES), help="model recipes")
    parser.add_argument("--steps", type=int, help="of training, instead of every recipe's own")
    parser.add_argument("--frames", type=int, default=4, help="of a chunk")
    parser.add_argument("--every", type=int, default=4, help="begin at every so many-th frame")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], help="override a key of every recipe")
    parser.add_argument("--out", type=Path, default=HERE / "results/droid_chunk.json")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    changed = [*args.set, *([] if args.steps is None else [f"trainer.steps={args.steps}"])]
    # Mistakes show up first.
    recipes = [load(name, "model", read_settings(changed)) for name in args.families]
    result: dict[str, Any] = {
        "command": f"python {shlex.join(sys.argv)}",
        "commit": commit_of(HERE.parent),  # before the work: what ran
        "machine": f"{os.cpu_count()} CPU cores, {platform.machine()}",
        "threads": args.threads,
        "seed": args.seed,
        "data": args.data.name,
        "families": [],
    }
    for found in recipes:
        result["families"].append(
            row(found, args.data, seed=args.seed, frames=args.frames, every=args.every)
        )
        write_json(args.out, result)
    print(table(result["families"]))
    if any("failed" in each for each in result["families"]):
        raise SystemExit(1)


def row(found: Recipe, data: Path, *, seed: int, frames: int, every: int) -> dict[str, Any]:
    """A family trained and measured, or why it could not be."""
    described = {
        "recipe": found.name,
        "family": found.kind,
        "steps": found.config.trainer.steps,
    }
    try:
        with tempfile.TemporaryDirectory() as home:
            measured = trained(found, data, Path(home), seed=seed, frames=frames, every=every)
    except (UserError, RuntimeError) as error:  # torch's own are RuntimeErrors
        print(f"{found.name} failed: {error}", flush=True)
        return {**described, "failed": str(error)}
    return {**described, **measured}


def trained(
    found: Recipe, data: Path, home: Path, *, seed: int, frames: int, every: int
) -> dict[str, Any]:
    """Train the family in `home`; gives its error, the baseline's, and what both cost."""
    prepared = prepare(found.config, data, (), home, seed=seed, report=told)
    begin = process_time()
    world = train_world(found.config, prepared, home, kind=found.kind, seed=seed, report=told)
    fitted = process_time()
    measured = one_chunk(world, prepared.episodes, prepared.held, frames=frames, every=every)
    result = {
        **asdict(measured),
        "training_cpu_seconds": fitted - begin,
        "imagining_cpu_seconds": process_time() - fitted,
        "training_episodes": len(prepared.episodes) - len(prepared.held),
        "held_out_episodes": len(prepared.held),
        "parameters": sum(w.numel() for w in world.networks_state().values()),
    }
    print(
        f"{found.name}: {frames} frames ahead {measured.latent_mse:.4f}, last frame repeated "
        f"{measured.repeated_mse:.4f}, {fitted - begin:.0f} CPU-seconds of training",
        flush=True,
    )
    return result


def told(stage: str, steps: int) -> Any:
    """Progress as a line now and then, on stderr: stdout is for the result."""

    def progress(step: int, loss: float) -> None:
        if step % 100 == 0:
            print(f"{stage} {step}/{steps} loss {loss:.4f}", file=sys.stderr, flush=True)

    return progress


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    out = [
        "| family | steps | CPU-seconds | chunk, latent MSE | last frame repeated | ratio |",
        "|---|---|---|---|---|---|",
    ]
    for each in rows:
        if "failed" in each:
            out.append(f"| {each['recipe']} | {each['steps']} | | failed | | |")
            continue
        own, repeated = each["latent_mse"], each["repeated_mse"]
        spent = f"{each['training_cpu_seconds']:.0f}"
        cells = [each["recipe"], str(each["steps"]), spent]
        cells += [f"{own:.4f}", f"{repeated:.4f}", f"{own / repeated:.3f}"]
        out.append("| " + " | ".join(cells) + " |")
    return "\n".join(out)


if __name__ == "__main__":
    main()
