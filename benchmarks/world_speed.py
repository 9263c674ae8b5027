"""How fast a world model imagines on this machine, how much memory it takes, how near the limit.

    python benchmarks/world_speed.py runs/world/latent
    python benchmarks/world_speed.py --recipe dit-base --layout droid --batch 8 --device cuda
    python benchmarks/world_speed.py --recipe dit-tiny --threads 2

A folder holds a trained world; a recipe is built with fresh weights, which takes the same time. A
frame is one view of one episode. Speed is the median of several runs; memory is the peak of this
process, or of the device. The share of the chip compares the multiplications that a step needs with
the rate of one large matrix product of the same precision, measured here. Writes --out.
"""

import argparse
import os
import platform
import resource
import shlex
import statistics
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from worldeval.recipe import load
from worldeval.run import commit_of, write_json
from worldeval.world.load import load_world, new_world, read_card
from worldeval.world.protocol import WorldSpec
from worldeval.world.world import World

LAYOUTS = {
    "metaworld": WorldSpec(
        views=("side", "top"),
        size=(64, 64),
        latent=(16, 8, 8),
        action_dim=20,
        pose_dim=4,
        tasks=("a", "b", "c", "d", "e"),
        fps=16.0,
    ),
    "droid": WorldSpec(
        views=("exterior_1", "exterior_2", "wrist"),
        size=(192, 320),
        latent=(4, 24, 40),
        action_dim=7,
        pose_dim=7,
        tasks=("any",),
        fps=5.0,
    ),
}
MATRIX = 4096  # side of the product that a GPU is measured with; a CPU gets a quarter


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("world", type=Path, nargs="?", help="folder of a trained world")
    parser.add_argument("--recipe", help="a model recipe, built with fresh weights")
    parser.add_argument("--layout", choices=LAYOUTS, default="metaworld")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=30, help="world frames a run")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--sampler-steps", type=int, help="instead of the recipe's, where it has any"
    )
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if (args.world is None) == (args.recipe is None):
        parser.error("give the folder of a world, or --recipe")
    torch.set_num_threads(args.threads)
    name, family, world = chosen(args.world, args.recipe, args.layout, seed=args.seed)
    if args.sampler_steps:
        if not hasattr(world, "steps"):
            parser.error(f"worlds of the family {family} have no sampler with steps")
        world.steps = args.sampler_steps  # type: ignore[attr-defined]
    result = {
        "command": f"python {shlex.join(sys.argv)}",
        "commit": commit_of(Path(__file__).parent.parent),
        "machine": machine(args.device),
        "threads": args.threads,
        "seed": args.seed,
        "world": name,
        "family": family,
        **speed(world.to(args.device), batch=args.batch, steps=args.steps, repeats=args.repeats),
    }
    if args.out:
        write_json(args.out, result)
    for key, value in result.items():
        print(f"{key:26} {value:,.3g}" if isinstance(value, float) else f"{key:26} {value}")


def chosen(
    folder: Path | None, recipe: str | None, layout: str, *, seed: int
) -> tuple[str, str, World]:
    """A name, the family and the world asked for."""
    if folder is not None:
        return str(folder), read_card(folder)["kind"], load_world(folder)
    assert recipe is not None
    found = load(recipe, "model")
    torch.manual_seed(seed)
    world = new_world(found.kind, LAYOUTS[layout], found.config)
    for part in (*world.parts.values(), world.tokenizer):
        if part is not None:
            part.eval()
    return f"{found.name} ({layout}, fresh weights)", found.kind, world


def speed(world: World, *, batch: int, steps: int, repeats: int) -> dict[str, Any]:
    """Frames a second, memory and parameters of a world, imagining `batch` episodes together."""
    spec = world.spec
    rng = np.random.default_rng(0)
    start = torch.from_numpy(
        rng.standard_normal((batch, len(spec.views), *spec.latent)).astype(np.float32)
    )
    pose = np.zeros((batch, spec.pose_dim), np.float32)
    actions = rng.uniform(-1, 1, (steps, batch, spec.action_dim)).astype(np.float32)
    tasks = [spec.tasks[i % len(spec.tasks)] for i in range(batch)]

    def roll(count: int) -> Any:
        state = world.begin_latents(start, pose, tasks, list(range(batch)))
        for action in actions[:count]:
            state = world.step(state, action)
        world.latents(state)  # waits for the device
        return state

    roll(2)
    if world.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    spent = []
    for _ in range(repeats):
        begin = perf_counter()
        roll(steps)
        spent.append(perf_counter() - begin)
    frames = batch * steps * len(spec.views)
    rate = frames / statistics.median(spent)
    with FlopCounterMode(display=False) as counted:
        roll(steps)
    needed = counted.get_total_flops() / frames
    peak = matrix_rate(world.device)
    return {
        "batch": batch,
        "views": len(spec.views),
        "size": list(spec.size),
        "sampler_steps": getattr(world, "steps", None),
        "parameters": sum(w.numel() for part in world.parts.values() for w in part.parameters()),
        "frames_per_second": rate,
        "decoded_frames_per_second": decoded(world, start, tasks, rate),
        "gigaflop_per_frame": needed / 1e9,
        "matrix_gigaflops": peak / 1e9,
        "share_of_matrix_rate": needed * rate / peak,
        "peak_memory_mib": peak_memory(world.device),
    }


def decoded(world: World, latents: torch.Tensor, tasks: list[str], imagined: float) -> float | None:
    """Frames a second when every imagined frame is drawn too; None for worlds that cannot draw."""
    if world.tokenizer is None:
        return None
    given = latents.numpy()
    world.render(given, tasks)
    begin = perf_counter()
    for _ in range(3):
        world.render(given, tasks)
    drawing = (perf_counter() - begin) / (3 * len(given) * len(world.spec.views))
    return 1 / (1 / imagined + drawing)


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
