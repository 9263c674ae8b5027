"""Fit a policy's actions to a world's, through a URDF or from recordings."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from worldeval.config import build
from worldeval.policy.adapters.folder import AdapterCard, load_adapter, save_adapter
from worldeval.policy.adapters.joint_records import (
    JointRecord,
    fitted_scale,
    measure,
    read_records,
    split,
)
from worldeval.policy.adapters.learned_motion import fit_motion, save_motion
from worldeval.policy.adapters.motion import JointAdapter, arm_parts

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class MadeAdapter:
    """A written adapter; `POLICY?adapter=FOLDER` uses it."""

    folder: Path
    card: AdapterCard  # with its errors on held-out episodes, if there were recordings


def adapter_from_urdf(
    robot: str | Path,
    out: str | Path,
    *,
    frame: str,
    policy: str,
    policy_fps: float,
    world_fps: float,
    world: str = "ee-absolute(euler)+1",
    velocity_scale: float | None = None,
    data: str | Path | None = None,
    held_out: float = 0.2,
    seed: int = 0,
    say: Say = print,
) -> MadeAdapter:
    """Make an adapter from joints to the end effector by a robot's kinematics.

    Args:
        robot: URDF file of the robot; meshes are not needed.
        out: folder for the adapter.
        frame: link whose pose the world model uses.
        policy, world: action spaces, such as `joint-velocity(7)+1`.
        policy_fps, world_fps: policy steps and world frames per second.
        velocity_scale: rad/s for one unit of joint velocity. Default: fitted to `data`, or 1.
        data: recordings to fit the scale to, and to measure the error on.
        held_out: share of episodes held out to measure the error.
        seed: random seed of the split.
        say: function that is called with progress messages.

    Raises:
        UserError: a file is missing, or the action spaces cannot be converted.

    >>> from worldeval.api.adapter import adapter_from_urdf
    >>> made = adapter_from_urdf(
    ...     "panda.urdf", "runs/adapter", frame="panda_hand", policy="joint-velocity(7)+1",
    ...     policy_fps=15, world_fps=5,
    ... )  # doctest: +SKIP
    """
    card, folder = _card(
        kind="urdf",
        policy=policy,
        world=world,
        policy_fps=policy_fps,
        world_fps=world_fps,
        frame=frame,
        velocity_scale=1.0 if velocity_scale is None else velocity_scale,
    ), Path(out)  # fmt: skip
    control, held = arm_parts(*card.spaces)[0].control, []
    if data is not None:
        kept, held = _split(data, control, held_out, seed)
        if velocity_scale is None and control == "joint-velocity":
            scale = fitted_scale(kept, steps=card.steps, fps=policy_fps)
            card = replace(card, velocity_scale=scale)
            say(f"one unit of velocity is {scale:.3f} rad/s in {len(kept)} episodes")
    save_adapter(folder, card, urdf=Path(robot))
    made = load_adapter(folder)
    if held:
        assert isinstance(made, JointAdapter)
        card = replace(card, held_out=asdict(measure(made.motion, held, steps=card.steps)))
        save_adapter(folder, card)
    return MadeAdapter(folder=folder, card=card)


def train_adapter(
    data: str | Path,
    out: str | Path,
    *,
    policy: str,
    policy_fps: float,
    world_fps: float,
    world: str = "ee-absolute(euler)+1",
    held_out: float = 0.2,
    iterations: int = 3000,
    seed: int = 0,
    say: Say = print,
) -> MadeAdapter:
    """Learn an adapter from joints to the end effector, and measure it on held-out episodes.

    Args:
        data: recordings: Ctrl-World annotations with joints, or .npz files.
        iterations: training steps per network; there are three small ones.
        out, policy, ...: as in `adapter_from_urdf`.

    Raises:
        UserError: there are no recordings, or the action spaces cannot be converted.

    >>> from worldeval.api.adapter import train_adapter
    >>> made = train_adapter(
    ...     "annotations", "runs/adapter", policy="joint-velocity(7)+1", policy_fps=15, world_fps=5
    ... )  # doctest: +SKIP
    """
    card, folder = _card(
        kind="learned", policy=policy, world=world, policy_fps=policy_fps, world_fps=world_fps
    ), Path(out)  # fmt: skip
    control = arm_parts(*card.spaces)[0].control
    kept, held = _split(data, control, held_out, seed)
    say(f"fitting to {len(kept)} episodes, {len(held)} held out")
    generator = torch.Generator().manual_seed(seed)
    motion = fit_motion(kept, steps=card.steps, generator=generator, iterations=iterations)
    card = replace(card, held_out=asdict(measure(motion, held, steps=card.steps)))
    save_motion(folder, motion)
    save_adapter(folder, card)
    return MadeAdapter(folder=folder, card=card)


def _card(**given: Any) -> AdapterCard:
    return build(AdapterCard, given, where="the adapter")


def _split(
    data: str | Path, control: str, share: float, seed: int
) -> tuple[list[JointRecord], list[JointRecord]]:
    """Read recordings; the second list is held out."""
    records = read_records(Path(data), control)
    return split(records, share=share, rng=np.random.default_rng(seed))
