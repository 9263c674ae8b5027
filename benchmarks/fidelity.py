"""How well a world model draws what comes next, and how fast it imagines, on this machine.

    python benchmarks/fidelity.py runs/world/latent runs/data/metaworld

Replays held-out episodes open loop and prints PSNR by horizon beside the tokenizer's own ceiling
and the repeated first frame; then times imagination alone. Writes benchmarks/results/fidelity.json.
"""

import argparse
import os
from pathlib import Path
from time import perf_counter

import numpy as np
import torch

from worldeval.data.source import open_source
from worldeval.data.split import held_out
from worldeval.data.table import RecordedEpisodes
from worldeval.files import write_json
from worldeval.world.fidelity.replay import open_loop, rendered_psnr
from worldeval.world.load import load_world, read_card, world_hash
from worldeval.world.sources import as_trained
from worldeval.world.tokenizer.encode import cache_place, cached
from worldeval.world.tokenizer.episodes import latent_episodes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("world", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=32)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    world = load_world(args.world)
    source = as_trained(open_source(args.data), world.spec)
    share = read_card(args.world)["recipe"].held_out
    held = np.flatnonzero(held_out(source, share=share, seed=args.seed))
    assert world.tokenizer is not None
    encoding = (world.tokenizer, world.spec.tasks, world.spec.views)
    place = cache_place(args.world, source, *encoding)
    cache = cached(source, place, *encoding, lambda stage, steps: lambda step, loss: None)
    recorded = RecordedEpisodes([source])
    data = latent_episodes(recorded, [cache], world.spec.tasks)
    result = {
        "command": f"python benchmarks/fidelity.py {args.world} {args.data}",
        "machine": f"{os.cpu_count()} CPU cores",
        "threads": args.threads,
        "seed": args.seed,
        "world": world_hash(args.world),
        "psnr": rendered_psnr(world, recorded, data, held),
        "latents": open_loop(world, data, held, most=len(held)),
        "speed": speed(world, data, args.batch),
    }
    write_json(Path("benchmarks/results/fidelity.json"), result)
    for horizon, row in result["psnr"].items():
        print(horizon, {key: round(value, 2) for key, value in row.items()})
    print({key: round(value, 1) for key, value in result["speed"].items()})


def speed(world, data, batch: int, steps: int = 30) -> dict[str, float]:
    """Imagined frames (one view each) a second: dynamics alone, and with every frame decoded."""
    rows = data.begin[:batch]
    tasks = [world.spec.tasks[index] for index in data.task[:batch]]
    out = {}
    for name, decode in (("dynamics", False), ("decoded", True)):
        state = world.begin_latents(data.gather(rows), data.pose[rows], tasks, range(batch))
        begin = perf_counter()
        for step in range(steps):
            state = world.step(state, data.actions[rows + min(step, 29)])
            if decode:
                world.render(world.latents(state), tasks)
        spent = perf_counter() - begin
        out[f"{name}_frames_per_second"] = batch * steps * len(world.spec.views) / spent
    return out


if __name__ == "__main__":
    np.seterr(all="raise", under="ignore")
    main()
