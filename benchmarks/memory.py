"""Does memory grow with the episodes? A tiny evaluation, ranked again and again in one process.

    python benchmarks/memory.py [--json] [--minutes 5] [--seed 0]

Every round ranks the toy policies from new starts into a new folder, its summary and report
included. Resident memory is read after each; its end is compared with the end of the first tenth.
The result is written every minute, so that a run that is ended early tells what it measured.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import numpy as np
from toy_run import make_run, toy_starts
from typer.testing import CliRunner

from worldeval.cli import app
from worldeval.files import write_json
from worldeval.rollout.starts import write_starts

RESULT = Path(__file__).parent / "results" / "memory.json"
POLICIES = ("a/step-1", "a/step-2", "b/step-1")
STARTS = 12


def resident() -> float:
    """Resident memory of this process in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def run_memory(
    home: Path, *, minutes: float, seed: int, save: Callable[[dict[str, object]], None]
) -> dict[str, object]:
    """Rounds until the time is over: their episodes, and memory along the way."""
    rng, begin, saved = np.random.default_rng(seed), monotonic(), monotonic()
    protocol = make_run(home / "toy", policies=POLICIES, starts=STARTS)
    kept: list[float] = []
    while monotonic() - begin < 60 * minutes or len(kept) < 20:
        write_starts(home / "toy/starts.h5", toy_starts(STARTS, rng))
        for words in (
            ["rank", str(protocol), "--out", str(home / "run"), "--films", "0", "--jobs", "1"],
            ["report", str(home / "run")],
        ):
            done = CliRunner().invoke(app, words)
            if done.exit_code:
                raise RuntimeError(done.output) from done.exception
        shutil.rmtree(home / "run")
        kept.append(round(resident(), 1))
        if monotonic() - saved > 60:
            saved = monotonic()
            save(told(kept))
    return told(kept)


def told(kept: list[float]) -> dict[str, object]:
    """What the memory after every round says."""
    first = kept[max(1, len(kept) // 10) - 1]
    return {
        "rounds": len(kept),
        "episodes": len(kept) * len(POLICIES) * STARTS * 2,
        "mib_after_first_tenth": first,
        "mib_at_end": kept[-1],
        "mib_largest": max(kept),
        "growth": round(kept[-1] / first - 1, 4),
        "mib_of_every_tenth": kept[:: max(1, len(kept) // 10)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULT, help="where the result is written")
    args = parser.parse_args()
    begin = monotonic()

    def save(found: dict[str, object]) -> None:
        result.update(seconds=round(monotonic() - begin), **found)
        write_json(args.out, result)

    result: dict[str, object] = {
        "command": " ".join(["python benchmarks/memory.py", *sys.argv[1:]]),
        "machine": f"{os.cpu_count()} CPU cores",
    }
    with tempfile.TemporaryDirectory(prefix="memory-") as home:
        save(run_memory(Path(home), minutes=args.minutes, seed=args.seed, save=save))
    print(json.dumps(result, indent=None if args.json else 2))


if __name__ == "__main__":
    main()
