"""Chunks that a policy proposes at remembered observations, whatever its head."""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from worldeval.axes import Array
from worldeval.improve.units import ChunkUnits
from worldeval.policy.checkpoint import LearnedPolicy
from worldeval.policy.demos import Demos
from worldeval.record import Observation

ROWS = 256  # observations encoded at a time


@torch.no_grad()
def proposals(
    policy: LearnedPolicy,
    units: ChunkUnits,
    demos: Demos,
    rows: Int[Array, " n"],
    *,
    count: int,
    noise: float,
    rng: np.random.Generator,
) -> Float[Tensor, "n m ka"]:
    """Draw `count` standardised chunks at every row, within the actions' bounds.

    The first is the policy's own. The others get a constant offset with a standard deviation of
    `noise`, so that they also differ for a head that draws nothing.
    """
    parts = []
    for begin in range(0, len(rows), ROWS):
        own = rows[begin : begin + ROWS]
        seen = observed(demos, own, policy.spec.history)
        policy.reset(seen.tasks, rng.integers(2**31, size=len(own)).tolist())
        feature = policy.network.encoder(*policy.see(seen))
        head, generators = policy.network.head, policy.generators
        drawn = [head.act(feature, generators).detach() for _ in range(count)]
        parts.append(torch.stack(drawn, 1))
    chunks = torch.cat(parts)
    offset = rng.standard_normal((len(rows), count, 1, len(units.mean))) * noise
    offset[:, 0] = 0.0
    shaken = chunks.unflatten(-1, (units.chunk, -1)) + torch.from_numpy(offset).to(chunks)
    return units.bounded(shaken.flatten(2))


def observed(demos: Demos, rows: Int[Array, " n"], history: int) -> Observation:
    """What a policy observes at the rows, with the moments before them."""
    tasks = tuple(demos.tasks[index] for index in demos.task[rows])
    shown = demos.moments(rows, history)
    *past, now = (
        Observation(
            frames={view: demos.frames[at, v] for v, view in enumerate(demos.views)},
            pose=demos.pose[at],
            tasks=tasks,
        )
        for at in shown.T
    )
    return Observation(frames=now.frames, pose=now.pose, tasks=tasks, past=tuple(past))
