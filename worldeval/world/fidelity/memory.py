"""Measure memory: returning to a place that was left, with and without retrieval.

Some recorded episodes return by themselves: the robot is back where it was some frames earlier,
after being far away. These episodes are replayed open loop twice from the same seeds, with and
without retrieval of older frames, and compared on the frames of return.
"""

from dataclasses import dataclass

import numpy as np

from worldeval.axes import Array, Bool, Float, Float32, Int
from worldeval.errors import UserError
from worldeval.world.fidelity.held_out import Held, Shelf, by_turns, imagine_held
from worldeval.world.fidelity.mean import Mean, mean_of
from worldeval.world.fidelity.pictures import draw, psnr
from worldeval.world.protocol import WorldSpec
from worldeval.world.world import World

AWAY = 6  # minimum number of frames between leaving and returning
NEAR, FAR = 0.25, 0.6  # share of the spread of positions that counts as back, and as away


@dataclass(frozen=True, kw_only=True)
class ReturnFidelity:
    """Results on frames of return, by episode. `unit`: 'dB' (PSNR), or 'latent dB' (-10 log MSE)
    without a decoder."""

    unit: str
    with_retrieval: Mean
    without: Mean
    gain: Mean  # paired: with minus without; above 0 if memory helps
    frames: int


def memory_of(world: World, held: Held, *, steps: int) -> ReturnFidelity:
    """Compare the frames of return. Raises UserError if there is nothing to compare."""
    if not world.remembers:
        raise UserError("worlds of this family do not retrieve older frames")
    back = returns(_place(world.spec, held.pose[:, : steps + 1]), length=held.length)
    rows = np.flatnonzero(back.any(1))
    if len(rows) < 2:
        raise UserError(
            f"{len(rows)} held-out episodes return to an earlier position; 2 are needed"
        )
    some = held.take(rows)
    scores = {}
    for retrieve in (True, False):
        before, world.retrieve = world.retrieve, retrieve
        try:
            latents = imagine_held(world, some, steps=steps).latents
        finally:
            world.retrieve = before
        scores[retrieve] = [
            _score(world, some, number, latents[number], back[row])
            for number, row in enumerate(rows)
        ]
    with_it, without = np.array(scores[True]), np.array(scores[False])
    means = [mean_of(each) for each in (with_it, without, with_it - without)]
    assert means[0] is not None and means[1] is not None and means[2] is not None
    return ReturnFidelity(
        unit="latent dB" if held.frames is None else "dB",
        with_retrieval=means[0],
        without=means[1],
        gain=means[2],
        frames=int(back.sum()),
    )


def returning(shelf: Shelf, spec: WorldSpec, *, steps: int, count: int) -> Int[Array, " k"]:
    """Select at most `count` held-out episodes that return, alternating between tasks."""
    poses = [shelf.pose(int(index))[: steps + 1] for index in shelf.held]
    length = np.array([len(pose) for pose in poses])
    whole = np.stack([pose[np.minimum(np.arange(steps + 1), len(pose) - 1)] for pose in poses])
    back = returns(_place(spec, whole.astype(np.float32)), length=length).any(1)
    return by_turns(shelf.held[back], shelf.tasks, count)


def returns(place: Float[Array, "e t k"], *, length: Array) -> Bool[Array, "e t"]:
    """Frames at which the robot is back after being away for at least `AWAY` frames.

    Distances are relative to the spread of all positions (root mean square from their mean).
    """
    place = place.astype(np.float64)
    frames = place.shape[1]
    live = np.arange(frames) < np.asarray(length)[:, None]
    spread = np.sqrt(np.square(place[live] - place[live].mean(0)).sum(1).mean())
    back = np.zeros(live.shape, bool)
    for episode in range(len(place)):
        apart = np.linalg.norm(place[episode][:, None] - place[episode], axis=2) / spread
        for now in range(AWAY, min(frames, int(length[episode]))):
            for before in np.flatnonzero(apart[now, : now - AWAY + 1] < NEAR):
                if apart[before, before:now].max() > FAR:
                    back[episode, now] = True
                    break
    return back


def _place(spec: WorldSpec, pose: Float32[Array, "e t p"]) -> Float32[Array, "e t k"]:
    """The robot's positions; without a common unit, in standard deviations of each number."""
    place = pose[..., list(spec.place)]
    if spec.place_unit:
        return place
    return place / place.reshape(-1, place.shape[-1]).std(0).clip(1e-9)


def _score(
    world: World,
    held: Held,
    number: int,
    latents: Float32[Array, "t v d h w"],
    back: Bool[Array, " t"],
) -> float:
    frames = np.flatnonzero(back)
    if held.frames is None:
        error: Float[Array, " n"] = np.square(latents[frames] - held.latents[number, frames])
        return float(-10 * np.log10(error.mean((1, 2, 3, 4)).clip(1e-8)).mean())
    drawn = draw(world, latents[frames], [held.tasks[number]] * len(frames))
    views = [psnr(drawn[view], held.frames[view][number, frames]) for view in world.spec.views]
    return float(np.mean(views))
