"""Validation action error: the cheap baseline that imagination must outperform.

Mean squared error between a policy's first world frame of actions and the expert's, on expert
demonstrations that no policy was trained on; the same ones for every policy.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from worldeval.axes import Array, Int
from worldeval.data.table import RecordedEpisodes
from worldeval.errors import UserError
from worldeval.policy.demos import EXPERT, Demos, gather, reserve
from worldeval.policy.protocol import Policy
from worldeval.record import Observation

AFTER_SUCCESS = 2  # world frames; later ones are the expert's jitter
SEED = 20_000  # of the policies' own noise


@dataclass(frozen=True, kw_only=True)
class ActionError:
    """Mean squared error in the robot's action units, over all dimensions of a world frame."""

    mean: float  # over tasks
    tasks: dict[str, float]


def validation_demos(
    recorded: RecordedEpisodes, per_task: int, sources: Sequence[str] = (EXPERT,)
) -> Demos:
    """Collect the held-out expert demonstrations, with every view of the dataset."""
    episodes = reserve(recorded, per_task, sources)
    if not len(episodes):
        raise UserError(
            f"{recorded.where}: no successful episode of source {' or '.join(sources)} can be held "
            f"out for validation; a task needs at least three. Its sources are {_named(recorded)}: "
            "name the experts' with validation_sources in the recipe (policy.validation_sources "
            "in a set)."
        )
    return gather(recorded, episodes, recorded.views, chunk=1, after_success=AFTER_SUCCESS)


def action_error(policy: Policy, demos: Demos) -> ActionError:
    """Act at every frame of `demos` and compare with the expert."""
    names = tuple(demos.tasks[index] for index in demos.task)
    policy.reset(names, [SEED + index for index in range(len(names))])
    shown = demos.moments(np.arange(len(demos)), policy.spec.history)
    *past, now = [_seen(demos, rows, names) for rows in shown.T]
    acted = policy.act(replace(now, past=tuple(past)))
    squared = np.square(acted[:, 0] - demos.actions[:, 0]).mean(axis=1)
    tasks = {
        task: float(squared[demos.task == index].mean())
        for index, task in enumerate(demos.tasks)
        if (demos.task == index).any()
    }
    return ActionError(mean=float(np.mean(list(tasks.values()))), tasks=tasks)


def _seen(demos: Demos, rows: Int[Array, " n"], names: tuple[str, ...]) -> Observation:
    frames = {view: demos.frames[rows, index] for index, view in enumerate(demos.views)}
    return Observation(frames=frames, pose=demos.pose[rows], tasks=names)


def _named(recorded: RecordedEpisodes) -> str:
    return ", ".join(sorted({source or EXPERT for source in recorded.episodes["source"]}))
