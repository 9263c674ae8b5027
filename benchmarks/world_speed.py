"""How fast world models imagine on this machine, how much memory they take, how near the limit.

    python benchmarks/world_speed.py --recipe latent dit-tiny --threads 2
    python benchmarks/world_speed.py runs/world/latent
    python benchmarks/world_speed.py --recipe dit-base --layout droid --batch 8 --device cuda \\
        --sampler-steps 1 2 4 8

A folder holds a trained world; a recipe is built with fresh weights, which takes the same time. A
frame is one view of one episode. Every world has a process of its own, whose peak memory (or the
device's) is told; they imagine by turns, round after round, so that what else the machine does
falls on all of them, and ratios are taken within a round. Medians over the rounds are kept. The
share of the chip compares the multiplications that a frame needs with the rate of one large matrix
product of the same precision. Writes benchmarks/results/world_speed.json.
"""

import argparse
import multiprocessing as mp
import os
import platform
import resource
import shlex
import statistics
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from worldeval.errors import UserError
from worldeval.files import write_json
from worldeval.recipe import load
from worldeval.runs.origin import commit_of
from worldeval.world.load import load_world, new_world, read_card
from worldeval.world.size import DROID, SMALL
from worldeval.world.world import World

LAYOUTS = {"metaworld": SMALL, "droid": DROID}
RESULT = Path(__file__).parent / "results" / "world_speed.json"
TOLD = (
    "frames_per_second",
    "frames_per_cpu_second",
    "decoded_frames_per_second",
    "share_of_matrix_rate",
    "gigaflop_per_frame",
    "peak_memory_mib",
    "parameters",
)
MATRIX = 4096  # side of the product that a GPU is measured with; a CPU gets a quarter


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One world to measure: a folder, or a recipe with fresh weights."""

    world: str
    recipe: bool
    layout: str
    sampler_steps: int | None
    batch: int
    steps: int  # world frames of a round
    chunk: int  # world frames imagined at once
    threads: int
    device: str
    seed: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("worlds", type=Path, nargs="*", help="folders of trained worlds")
    parser.add_argument("--recipe", nargs="+", default=[], help="built with fresh weights")
    parser.add_argument("--layout", choices=LAYOUTS, default="metaworld")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=30, help="world frames a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--chunk", type=int, default=1, help="frames at once (ctrl_world)")
    parser.add_argument(
        "--sampler-steps", type=int, nargs="+", help="each of these, instead of the recipe's"
    )
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULT)
    args = parser.parse_args()
    given = [(str(each), False) for each in args.worlds] + [(each, True) for each in args.recipe]
    if not given:
        parser.error("give folders of worlds, or --recipe")
    asked = [
        Asked(
            world=world,
            recipe=fresh,
            layout=args.layout,
            sampler_steps=sampler,
            batch=args.batch,
            steps=args.steps,
            chunk=args.chunk,
            threads=args.threads,
            device=args.device,
            seed=args.seed,
        )
        for world, fresh in given
        for sampler in args.sampler_steps or [None]
    ]
    result = {
        "command": f"python {shlex.join(sys.argv)}",
        "commit": commit_of(Path(__file__).parent.parent),
        "machine": machine(args.device),
        "threads": args.threads,
        "seed": args.seed,
        **by_turns(asked, rounds=args.rounds),
    }
    write_json(args.out, result)
    for row in result["worlds"]:
        print(f"{row['world']} ({row['layout']}), sampler steps {row['sampler_steps']}")
        for key in TOLD:
            print(f"    {key:26} {row[key]:,.3g}" if row[key] is not None else f"    {key:26} -")
    for name, ratio in result["ratios"].items():
        print(f"{name}: {ratio['median']:.2f} times [{ratio['least']:.2f}, {ratio['most']:.2f}]")


def by_turns(asked: Sequence[Asked], *, rounds: int) -> dict[str, Any]:
    """Facts of every world, and how many times as fast the first is as each of the others."""
    spawn = mp.get_context("spawn")  # a fork would share the threads of torch, and its peak memory
    pools = [ProcessPoolExecutor(1, spawn) for _ in asked]
    try:
        for pool, one in zip(pools, asked, strict=True):
            pool.submit(_begin, one).result()
        timed = [[pool.submit(_round).result() for pool in pools] for _ in range(rounds)]
        rows = [pool.submit(_facts).result() for pool in pools]
    finally:
        for pool in pools:
            pool.shutdown(cancel_futures=True)
    for number, row in enumerate(rows):
        frames = row["frames_a_round"]
        rate = frames / statistics.median(each[number][0] for each in timed)
        drawing = row.pop("drawing_seconds_per_frame")
        row |= {
            "frames_per_second": rate,
            "frames_per_cpu_second": frames / statistics.median(each[number][1] for each in timed),
            "decoded_frames_per_second": drawing and 1 / (1 / rate + drawing),
            "share_of_matrix_rate": row["gigaflop_per_frame"] * rate / row["matrix_gigaflops"],
        }
    ratios = {}
    for number, row in enumerate(rows[1:], start=1):
        share = rows[0]["frames_a_round"] / row["frames_a_round"]
        each = [share * times[number][0] / times[0][0] for times in timed]
        ratios[f"{_name(rows[0])} against {_name(row)}"] = {
            "median": statistics.median(each),
            "least": min(each),
            "most": max(each),
        }
    return {"rounds": rounds, "worlds": rows, "ratios": ratios}


def chosen(asked: Asked) -> tuple[str, World]:
    """The family and the world asked for. Raises UserError for steps or chunks it does not have."""
    if asked.recipe:
        found = load(asked.world, "model")
        torch.manual_seed(asked.seed)
        family, world = found.kind, new_world(found.kind, LAYOUTS[asked.layout], found.config)
        world.eval()
    else:
        folder = Path(asked.world)
        family, world = read_card(folder)["kind"], load_world(folder)
    if asked.sampler_steps is not None:
        world.steps = asked.sampler_steps
    if asked.chunk > 1 and not hasattr(world, "advance"):
        raise UserError(f"Worlds of the family {family} imagine one frame at a time: --chunk 1.")
    return family, world.to(asked.device)


class Rolling:
    """A world and what it is given: `batch` episodes that go on together for `steps` frames."""

    def __init__(self, world: World, *, batch: int, steps: int, chunk: int = 1) -> None:
        self.world, self.batch, self.chunk = world, batch, chunk
        self.steps = steps - steps % chunk
        spec, rng = world.spec, np.random.default_rng(0)
        shape = (batch, len(spec.views), *spec.latent)
        self.start = torch.from_numpy(rng.standard_normal(shape).astype(np.float32))
        self.pose = np.zeros((batch, spec.pose_dim), np.float32)
        low, high = spec.low, spec.high
        self.actions = rng.uniform(low, high, (steps, batch, spec.action_dim)).astype(np.float32)
        self.tasks = [spec.tasks[i % len(spec.tasks)] for i in range(batch)]
        self.roll(2 * chunk)  # warms up
        if world.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()

    @property
    def frames(self) -> int:
        """Frames of a round, every view counted."""
        return self.batch * self.steps * len(self.world.spec.views)

    def roll(self, count: int) -> None:
        """Imagine `count` frames from the start, at most those of a round."""
        seeds = list(range(self.batch))
        state = self.world.begin_latents(self.start, self.pose, self.tasks, seeds)
        for first in range(0, min(count, self.steps), self.chunk):
            actions = self.actions[first : first + self.chunk]
            if self.chunk == 1:
                state = self.world.step(state, actions[0])
            else:
                state = self.world.advance(state, actions.swapaxes(0, 1))  # type: ignore[attr-defined]
        self.world.latents(state)  # waits for the device

    def round(self) -> tuple[float, float]:
        """Seconds of a roll-out by the clock, and of the CPU."""
        clock, used = perf_counter(), process_time()
        self.roll(self.steps)
        return perf_counter() - clock, process_time() - used

    def facts(self) -> dict[str, Any]:
        """What does not depend on the moment."""
        with FlopCounterMode(display=False) as counted:
            self.roll(self.steps)
        world = self.world
        return {
            "batch": self.batch,
            "views": len(world.spec.views),
            "size": list(world.spec.size),
            "sampler_steps": world.steps or None,
            "frames_at_once": self.chunk,
            "parameters": sum(w.numel() for w in world.networks_state().values()),
            "frames_a_round": self.frames,
            "drawing_seconds_per_frame": drawing(world, self.start.numpy(), self.tasks),
            "gigaflop_per_frame": counted.get_total_flops() / self.frames / 1e9,
            "matrix_gigaflops": matrix_rate(world.device) / 1e9,
            "peak_memory_mib": peak_memory(world.device),
        }


_here: tuple[Asked, str, Rolling] | None = None  # of a world's own process


def _begin(asked: Asked) -> None:
    global _here
    torch.set_num_threads(asked.threads)
    family, world = chosen(asked)
    _here = asked, family, Rolling(world, batch=asked.batch, steps=asked.steps, chunk=asked.chunk)


def _round() -> tuple[float, float]:
    assert _here is not None
    return _here[2].round()


def _facts() -> dict[str, Any]:
    assert _here is not None
    asked, family, rolling = _here
    layout = f"{asked.layout}, fresh weights" if asked.recipe else "trained"
    return {"world": asked.world, "family": family, "layout": layout, **rolling.facts()}


def _name(row: dict[str, Any]) -> str:
    steps = row["sampler_steps"]
    return row["world"] if steps is None else f"{row['world']} in {steps} steps"


def drawing(world: World, latents: np.ndarray, tasks: Sequence[str]) -> float | None:
    """Seconds that decoding a frame takes; None for worlds that cannot draw."""
    if world.tokenizer is None:
        return None
    world.render(latents, tasks)
    begin = perf_counter()
    for _ in range(3):
        world.render(latents, tasks)
    return (perf_counter() - begin) / (3 * len(latents) * len(world.spec.views))


def matrix_rate(device: torch.device) -> float:
    """Floating-point operations a second of one large matrix product: bfloat16 on a GPU."""
    gpu = device.type == "cuda"
    side, kind = (MATRIX * 2, torch.bfloat16) if gpu else (MATRIX // 4, torch.float32)
    first, second = (torch.randn(side, side, device=device, dtype=kind) for _ in range(2))
    best = 0.0
    for _ in range(3):
        begin = perf_counter()
        for _ in range(4):
            torch.matmul(first, second)
        if gpu:
            torch.cuda.synchronize()
        best = max(best, 4 * 2 * side**3 / (perf_counter() - begin))
    return best


def peak_memory(device: torch.device) -> float:
    """Of the device where it is a GPU, else of this process with all its libraries."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def machine(device: str) -> str:
    """The kind of machine: its cores, or its GPU."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name()
    return f"{os.cpu_count()} CPU cores, {platform.machine()}"


if __name__ == "__main__":
    main()
