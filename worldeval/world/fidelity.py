"""How well a world model predicts: recorded actions replayed open loop from a start."""

import numpy as np
import torch

from worldeval.axes import Array, Int
from worldeval.data.latents import LatentEpisodes
from worldeval.data.shards import Shards
from worldeval.world.world import World

HORIZONS = (1, 5, 10, 20)


def open_loop(
    world: World,
    data: LatentEpisodes,
    episodes: Int[Array, " e"],
    *,
    horizons: tuple[int, ...] = HORIZONS,
    batch: int = 64,
) -> dict[str, dict[str, float]]:
    """Replay held-out episodes from their first frame and compare at each horizon.

    `latent_mse` and `copy_mse` (the first frame repeated) are in standardised latents, `hand_mm` is
    the mean distance of the hand. Both the frames and the poses are the model's own throughout.
    """
    deepest = max(horizons)
    usable = [int(index) for index in episodes if data.length[index] > min(horizons)]
    sums: dict[int, list[Array]] = {horizon: [] for horizon in horizons}
    for begin in range(0, len(usable), batch):
        part = np.array(usable[begin : begin + batch])
        first = data.begin[part]
        last = first + data.length[part] - 1
        tasks = [world.spec.tasks[index] for index in data.task[part]]
        state = world.begin_latents(data.gather(first), data.pose[first], tasks, part.tolist())
        start = data.gather(first)
        for step in range(1, deepest + 1):
            rows = np.minimum(first + step - 1, last)
            state = world.step(state, data.actions[rows])
            if step not in sums:
                continue
            live = first + step <= last
            rows = np.minimum(first + step, last)
            truth = data.gather(rows)
            error = (torch.from_numpy(world.latents(state)) - truth).square().mean((1, 2, 3, 4))
            copied = (start - truth).square().mean((1, 2, 3, 4))
            hand = np.linalg.norm((world.pose(state) - data.pose[rows])[:, :3], axis=1)
            kept = np.stack([error.numpy(), copied.numpy(), hand * 1000], 1)
            sums[step].append(kept[live])
    out = {}
    for horizon, parts in sums.items():
        rows = np.concatenate(parts)
        if len(rows):
            values = rows.mean(0)
            keys = ("latent_mse", "copy_mse", "hand_mm")
            named = {key: float(value) for key, value in zip(keys, values, strict=True)}
            out[f"h{horizon}"] = {**named, "episodes": len(rows)}
    return out


def rendered_psnr(
    world: World,
    shards: Shards,
    data: LatentEpisodes,
    episodes: Int[Array, " e"],
    *,
    horizons: tuple[int, ...] = HORIZONS,
) -> dict[str, dict[str, float]]:
    """PSNR (dB, mean over frames and views) of imagined frames, open loop, at each horizon.

    Beside it the ceiling of the tokenizer (the true latents decoded) and the first frame repeated.
    """
    longest = max(horizons)
    chosen = np.array([int(index) for index in episodes if data.length[index] > longest])
    first = data.begin[chosen]
    tasks = world.tasks_of(data, chosen)
    state = world.begin_latents(data.gather(first), data.pose[first], tasks, chosen.tolist())
    start = {view: shards.frames(view, first) for view in world.spec.views}
    out = {}
    for step in range(1, longest + 1):
        state = world.step(state, data.actions[first + step - 1])
        if step not in horizons:
            continue
        rows = first + step
        truth = {view: shards.frames(view, rows) for view in world.spec.views}
        out[f"h{step}"] = {
            "imagined": _psnr(world.render(world.latents(state), tasks), truth),
            "tokenizer": _psnr(world.render(data.gather(rows).numpy(), tasks), truth),
            "first_frame": _psnr(start, truth),
            "episodes": len(chosen),
        }
    return out


def _psnr(frames: dict[str, Array], truth: dict[str, Array]) -> float:
    each = []
    for view, images in frames.items():
        error = (images.astype(np.float32) - truth[view].astype(np.float32)) / 255
        each.append(-10 * np.log10(np.square(error).mean((1, 2, 3)).clip(1e-8)))
    return float(np.mean(each))
