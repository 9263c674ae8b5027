"""What training on a dataset of DROID's size needs: the store of latents, the loader, the memory.

    python benchmarks/scale.py store [--gib 2] [--batches 200]

Each measurement replaces its own key of benchmarks/results/scale.json. `store` compares the stores
whose packages are installed (pip install zarr pylance); see scale_store.py.
"""

import argparse
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

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


MEASUREMENTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {"store": store}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("measurement", choices=MEASUREMENTS)
    parser.add_argument("--gib", type=float, default=2.0, help="size of the set of the stores")
    parser.add_argument("--batches", type=int, default=200, help="random batches to read")
    parser.add_argument(
        "--place", help="folder of the disk to measure (default: the temporary one)"
    )
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    found = MEASUREMENTS[args.measurement](args)
    kept = read_object(RESULT) if RESULT.is_file() else {}
    facts = {"commit": commit_of(ROOT), "machine": f"{os.cpu_count()} CPU cores"}
    kept[args.measurement] = {**facts, **found}
    write_json(RESULT, kept)


if __name__ == "__main__":
    main()
