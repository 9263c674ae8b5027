"""Measure prediction errors: recorded actions replayed open loop from a start."""

from typing import Any

import numpy as np
import torch

from worldeval.axes import Array, Int
from worldeval.data.latents import LatentEpisodes
from worldeval.data.table import RecordedEpisodes
from worldeval.world.fidelity.held_out import by_turns
from worldeval.world.fidelity.part_errors import part_errors
from worldeval.world.walk import walk
from worldeval.world.world import World

HORIZONS = (1, 5, 10, 20)


def open_loop(
    world: World,
    data: LatentEpisodes,
    episodes: Int[Array, " e"],
    *,
    horizons: tuple[int, ...] = HORIZONS,
    most: int = 64,
    batch: int = 16,
) -> dict[str, dict[str, Any]]:
    """Replay held-out episodes from their first frame and compare at each horizon.

    `latent_mse` and `copy_mse` (repeating the first frame) are in standardised latents. `hand_mm`
    is the mean position error, or `place_error`, in its own unit, if it is not in metres; `parts`
    has the mean error of each part of the robot, where the world knows them. Both frames and poses
    are the model's own throughout. At most `most` episodes are replayed, alternating between tasks,
    `batch` at a time.
    """
    usable = episodes[data.length[episodes] > min(horizons)]
    tasks = world.tasks_of(data, np.arange(len(data)))
    chosen = np.sort(by_turns(usable, tasks, most))
    sums: dict[int, list[Array]] = {horizon: [] for horizon in horizons}
    shares: dict[int, dict[str, list[Array]]] = {horizon: {} for horizon in horizons}
    units: dict[str, str] = {}
    for part in np.split(chosen, range(batch, len(chosen), batch)) if len(chosen) else ():
        first, length = data.begin[part], data.length[part]
        start, told = data.gather(first), [tasks[episode] for episode in part]
        state = world.begin_latents(start, data.pose[first], told, part.tolist())
        deepest = min(max(horizons), int(length.max()) - 1)
        rows = first[:, None] + np.minimum(np.arange(deepest), length[:, None] - 1)
        walked = walk(world, state, data.actions[rows])
        for horizon in horizons:
            live = length > horizon
            if not live.any():
                continue
            then = first[live] + horizon
            truth = data.gather(then)
            imagined = torch.from_numpy(walked.latents[live, horizon - 1])
            error = (imagined - truth).square().mean((1, 2, 3, 4))
            copied = (start[torch.from_numpy(live)] - truth).square().mean((1, 2, 3, 4))
            predicted, recorded = walked.pose[live, horizon - 1], data.pose[then]
            _, away = world.spec.place_error(predicted - recorded)
            for name, (unit, each) in part_errors(world.spec, predicted, recorded).items():
                units[name] = unit
                shares[horizon].setdefault(name, []).append(each)
            sums[horizon].append(np.stack([error.numpy(), copied.numpy(), away], 1))
    place, _ = world.spec.place_error(np.zeros((0, world.spec.pose_dim)))
    out = {}
    for horizon, parts in sums.items():
        if parts:
            rows = np.concatenate(parts)
            keys = ("latent_mse", "copy_mse", place)
            named = {key: float(value) for key, value in zip(keys, rows.mean(0), strict=True)}
            out[f"h{horizon}"] = {**named, "episodes": len(rows)}
            each = {
                name: {"unit": units[name], "error": float(np.concatenate(found).mean())}
                for name, found in shares[horizon].items()
            }
            out[f"h{horizon}"] |= {"parts": each} if each else {}
    return out


def rendered_psnr(
    world: World,
    recorded: RecordedEpisodes,
    data: LatentEpisodes,
    episodes: Int[Array, " e"],
    *,
    horizons: tuple[int, ...] = HORIZONS,
) -> dict[str, dict[str, float]]:
    """PSNR (dB, mean over frames and views) of imagined frames, open loop, at each horizon.

    Next to it are the tokenizer's ceiling (the true latents decoded) and repeating the first frame.
    """
    longest = max(horizons)
    chosen = np.array([int(index) for index in episodes if data.length[index] > longest])
    first = data.begin[chosen]
    tasks = world.tasks_of(data, chosen)
    state = world.begin_latents(data.gather(first), data.pose[first], tasks, chosen.tolist())
    start = {view: recorded.frames(view, first) for view in world.spec.views}
    out = {}
    for step in range(1, longest + 1):
        state = world.step(state, data.actions[first + step - 1])
        if step not in horizons:
            continue
        rows = first + step
        truth = {view: recorded.frames(view, rows) for view in world.spec.views}
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
