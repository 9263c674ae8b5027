"""What training on a dataset of DROID's size needs: the store of latents, the loader, the memory.

    python benchmarks/scale.py store [--gib 2] [--batches 200]
    python benchmarks/scale.py loader [--episodes 95000] [--batches 200]
    python benchmarks/scale.py scheduler
    python benchmarks/scale.py roofline [--recipes dit-base ...]

Each measurement replaces its own keys of benchmarks/results/scale.json. `store` compares the stores
whose packages are installed (pip install zarr pylance); see scale_store.py. `loader` opens episodes
as training does, and also writes `memory`; see scale_loader.py. `scheduler` hands out
a ranking to a modelled cluster; see scale_ray.py. `roofline` computes what every model recipe costs
on a GPU, without one, and rewrites the tables of docs/gpus.md; see scale_roofline.py.
"""

import argparse
import os
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from scale_loader import measure, write
from scale_ray import distribute
from scale_roofline import measure as costs
from scale_roofline import write_tables
from scale_store import compare

from worldeval.files import read_object, write_json
from worldeval.runs.origin import commit_of

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "benchmarks/results/scale.json"


def store(args: argparse.Namespace) -> dict[str, Any]:
    place = Path(tempfile.mkdtemp(prefix="scale-", dir=args.place))
    try:
        return compare(place, gib=args.gib, batches=args.batches, seed=args.seed)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def loader(args: argparse.Namespace) -> dict[str, Any]:
    place = Path(tempfile.mkdtemp(prefix="scale-", dir=args.place))
    try:
        # In a process of its own, so that what writing took is not measured.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as other:
            other.submit(write, place, episodes=args.episodes, seed=args.seed).result()
        found = measure(place, batches=args.batches, workers=(0, 1, 2), seed=args.seed)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    memory = {key: found.pop(key) for key in ("start_s", "start_cpu_s", "memory_gib")}
    return {"loader": found, "memory": {"episodes": found["episodes"], **memory}}


def roofline(args: argparse.Namespace) -> dict[str, Any]:
    found = costs(args.recipes)
    if args.recipes is None:
        write_tables(ROOT / "docs/gpus.md", found["recipes"])
    return {"roofline": found}


MEASUREMENTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "store": lambda args: {"store": store(args)},
    "loader": loader,
    "roofline": roofline,
    "scheduler": lambda args: {
        "scheduler": distribute(policies=1000, starts=100, batch=8, seconds=4.0, seed=args.seed)
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("measurement", choices=MEASUREMENTS)
    parser.add_argument("--gib", type=float, default=2.0, help="size of the set of the stores")
    parser.add_argument("--episodes", type=int, default=95_000, help="for the loader")
    parser.add_argument("--recipes", nargs="+", help="of the roofline; default: all")
    parser.add_argument("--batches", type=int, default=200, help="random batches to read")
    parser.add_argument(
        "--place", help="folder of the disk to measure (default: the temporary one)"
    )
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    found = MEASUREMENTS[args.measurement](args)
    kept = read_object(RESULT) if RESULT.is_file() else {}
    facts = {"commit": commit_of(ROOT), "machine": f"{os.cpu_count()} CPU cores"}
    kept |= {key: {**facts, **values} for key, values in found.items()}
    write_json(RESULT, kept)


if __name__ == "__main__":
    main()
