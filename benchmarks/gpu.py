"""Check and measure everything on one GPU, in a few minutes.

    python benchmarks/gpu.py --minutes 10 --out gpu.json
    python benchmarks/gpu.py --tiny --out tiny.json    # the same on a CPU, with tiny sizes

The parts, most telling first: the machine, the rate of matrix products, attention in its variants,
every path on the device (families, judge, policies: a training step whose loss is compared with the
CPU's, and inference), frames per second of imagination, ten training steps with the device's idle
share, and the same compiled. The result is written after every measurement, so that a run that is
cut keeps what it has. What fails is a row that says so; what no time is left for is listed.
"""

import argparse
import os
import platform
import shlex
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from gpu_paths import paths
from gpu_speed import attention_rates, imagined_speed, matmul_rates, trained_speed

from worldeval.device import compiling, pick_device
from worldeval.errors import UserError
from worldeval.files import write_json
from worldeval.runs.origin import commit_of

ROOT = Path(__file__).parents[1]
COMPILE = "WORLDEVAL_COMPILE"


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What is measured."""

    worlds: tuple[str, ...] = ("dit-base", "ctrl-world")
    batches: tuple[int, ...] = (8, 1, 24, 32)  # of episodes; the most telling first
    steps: tuple[int, ...] = (4, 1, 2)  # of the sampler
    frames: int = 16  # timed, after as many that fill the history
    rows: tuple[tuple[str, int], ...] = (("dit-base", 8), ("ctrl-world", 4))  # of a training batch
    training_steps: int = 10
    side: int = 8192  # of matrices
    attention: tuple[int, int, int, int] = (16, 720, 6480, 64)  # heads, queries, keys, width


TINY = Sizes(
    worlds=("dit-droid", "ctrl-world-tiny-droid"),
    batches=(2, 1),
    steps=(1,),
    frames=4,
    rows=(("dit-droid", 2), ("ctrl-world-tiny-droid", 2)),
    training_steps=2,
    side=64,
    attention=(2, 16, 48, 8),
)


class Run:
    """Measurements with a deadline, each kept as soon as it is there."""

    def __init__(self, out: Path, facts: dict[str, Any], *, seconds: float) -> None:
        self.out, self.seconds = out, seconds
        self.begin = perf_counter()
        self.found: dict[str, Any] = {**facts, "complete": False, "no_time_for": []}

    @property
    def left(self) -> float:
        """Seconds until the deadline."""
        return self.seconds - (perf_counter() - self.begin)

    def measure(self, part: str, name: str, what: Callable[[], dict[str, Any]]) -> None:
        """Append a row to a part, or why there is none."""
        if self.left <= 0:
            self.found["no_time_for"].append(f"{part}: {name}")
            return
        begin = perf_counter()
        try:
            row: dict[str, Any] = {"name": name, **what()}
        except (RuntimeError, UserError, ImportError) as error:  # torch's own are RuntimeErrors
            row = {"name": name, "failed": f"{type(error).__name__}: {str(error)[:500]}"}
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
        row["seconds"] = perf_counter() - begin
        self.found.setdefault(part, []).append(row)
        self.keep()
        print(part, row, flush=True)

    def keep(self) -> None:
        """Write what there is."""
        write_json(self.out, self.found)

    def end(self) -> None:
        """Write that all of it is there."""
        self.found["complete"] = not self.found["no_time_for"]
        self.found["run_seconds"] = perf_counter() - self.begin
        self.keep()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="nothing is begun later")
    parser.add_argument("--out", type=Path, default=Path("gpu.json"))
    parser.add_argument("--device", default="auto")
    parser.add_argument("--tiny", action="store_true", help="tiny sizes, as in the tests")
    args = parser.parse_args()
    device = pick_device(args.device)
    if device.type == "cpu" and not args.tiny:
        parser.error("there is no GPU here; --tiny runs the same parts with tiny sizes")
    run = Run(args.out, facts(device, tiny=args.tiny), seconds=60 * args.minutes)
    for part, name, what in measurements(TINY if args.tiny else Sizes(), device, tiny=args.tiny):
        run.measure(part, name, what)
    run.end()


def measurements(
    sizes: Sizes, device: torch.device, *, tiny: bool
) -> Iterator[tuple[str, str, Callable[[], dict[str, Any]]]]:
    """Every measurement: its part, its name, and what measures it."""
    yield "matmul", "matrices", lambda: matmul_rates(sizes.side, device)
    yield from (
        ("attention", name, what) for name, what in attention_rates(sizes.attention, device)
    )
    yield from (("paths", name, what) for name, what in paths(device))
    for fast in (False, True):
        manner = "compiled" if fast else "eager"
        for world in sizes.worlds:
            for steps in sizes.steps:
                for batch in sizes.batches:
                    yield (
                        "imagination",
                        f"{world}, {steps} steps, batch {batch}, {manner}",
                        _in_manner(
                            fast, tiny, imagined_speed,
                            world, steps=steps, batch=batch, frames=sizes.frames, device=device,
                        ),
                    )  # fmt: skip
        for recipe, rows in sizes.rows:
            yield (
                "training",
                f"{recipe}, {rows} rows, {manner}",
                _in_manner(
                    fast, tiny, trained_speed,
                    recipe, rows=rows, steps=sizes.training_steps, device=device,
                ),
            )  # fmt: skip


def _in_manner(fast: bool, tiny: bool, what: Any, *args: Any, **kwargs: Any) -> Any:
    """The measurement, compiled if `fast`; a tiny one only by torch's stand-in for a compiler."""

    def measured() -> dict[str, Any]:
        with compiling(fast):
            if fast and tiny:
                os.environ[COMPILE] = "eager"
            return what(*args, fast=fast, **kwargs)

    return measured


def facts(device: torch.device, *, tiny: bool) -> dict[str, Any]:
    """Where this ran."""
    found: dict[str, Any] = {
        "command": f"python {shlex.join(sys.argv)}",
        "commit": commit_of(ROOT),
        "tiny": tiny,
        "device": device.type,
        "machine": f"{os.cpu_count()} CPU cores, {platform.machine()}",
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        found |= {"gpu": properties.name, "memory_gib": properties.total_memory / 2**30}
    return found


if __name__ == "__main__":
    main()
