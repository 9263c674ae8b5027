"""Inverse dynamics as a trust signal: do imagined frames show the commanded actions?

A world model that ignores its actions, or has lost the gripper, shows motion that does not match
the commands. The inverse mode of a `uwm` world model infers the action between consecutive frames;
its distance from the commanded action is stored with the roll-out, step by step.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from worldeval.axes import Array, Float32
from worldeval.errors import UserError
from worldeval.record import Rollout
from worldeval.world.load import load_world
from worldeval.world.protocol import WorldModel
from worldeval.world.uwm.world import UwmWorld

SIGNAL = "inverse_error"
SEED = 0  # for inverse-mode samples: a signal must not depend on the order of evaluation
FLOOR = 0.1  # smallest std of an action number, relative to the largest one


def checked(rollouts: Sequence[Rollout], world: WorldModel, checker: UwmWorld) -> list[Rollout]:
    """Add `inverse_error` to the roll-outs' trust signals: per step, and its mean.

    `world` imagined the roll-outs; if `checker` uses other latents, the frames are rendered and
    encoded again. Roll-outs must have the same length.
    """
    errors = inverse_error(rollouts, world, checker)
    return [
        replace(
            rollout,
            trust={**rollout.trust, SIGNAL: float(error.mean())},
            trust_by_step={**rollout.trust_by_step, SIGNAL: error},
        )
        for rollout, error in zip(rollouts, errors, strict=True)
    ]


def inverse_error(
    rollouts: Sequence[Rollout], world: WorldModel, checker: UwmWorld
) -> Float32[Array, "b t"]:
    """Root mean square distance between commanded and inferred actions, in training std.

    A value of about 1 means that the frames carry no information about the action.
    """
    tasks = [rollout.task for rollout in rollouts]
    actions = np.stack([rollout.actions for rollout in rollouts])
    inferred = checker.infer(
        _latents(rollouts, world, checker),
        np.stack([rollout.pose for rollout in rollouts]),
        actions,
        tasks,
        seed=SEED,
    )
    std = checker.model.features.action_std.cpu().numpy()
    std = np.maximum(std, FLOOR * std.max())  # a number that never varies must not dominate
    return np.sqrt(np.square((inferred - actions) / std).mean(2)).astype(np.float32)


def load_checker(folder: str) -> UwmWorld | None:
    """Load the `uwm` world model in `folder`, which infers actions; None if no folder is given."""
    if not folder:
        return None
    world = load_world(Path(folder))
    if not isinstance(world, UwmWorld):
        raise UserError(
            f"checker: {folder} contains no `uwm` world model; only those infer actions from "
            "frames. Train one: worldeval train --model uwm-tiny."
        )
    return world


def _latents(
    rollouts: Sequence[Rollout], world: WorldModel, checker: UwmWorld
) -> Float32[Array, "b t v d h w"]:
    latents = np.stack([np.asarray(rollout.latents) for rollout in rollouts]).astype(np.float32)
    if world is checker or same_latents(world, checker):
        return latents
    if not set(checker.spec.views) <= set(world.spec.views):
        raise UserError(
            f"The checker needs the views {', '.join(checker.spec.views)}, but the world model "
            f"imagines {', '.join(world.spec.views)}. Train a checker on the same views."
        )
    steps = latents.shape[1]
    tasks = [rollout.task for rollout in rollouts for _ in range(steps)]
    frames = world.render(latents.reshape(-1, *latents.shape[2:]), tasks)
    again = checker.encode({view: frames[view] for view in checker.spec.views}, tasks)
    return again.cpu().numpy().reshape(len(rollouts), steps, *again.shape[1:])


def same_latents(world: WorldModel, checker: UwmWorld) -> bool:
    """Whether both were trained on the latents of the same tokenizer."""
    own, other = getattr(world, "tokenizer", None), checker.tokenizer
    if own is None or other is None or world.spec.views != checker.spec.views:
        return own is other and world.spec.views == checker.spec.views
    ours, theirs = own.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(
        ours[key].shape == theirs[key].shape and bool((ours[key].cpu() == theirs[key].cpu()).all())
        for key in ours
    )
