"""Adapters as folders: `adapter.json`, and the robot's URDF or the weights of a learned adapter.

They are made by `worldeval adapter urdf` and `worldeval adapter train`, and used by
`?adapter=FOLDER` at the end of a policy's address.
"""

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from math import isfinite
from pathlib import Path
from typing import Literal

from worldeval.config import build
from worldeval.data.action_space import ActionSpace
from worldeval.data.space_text import read_space
from worldeval.errors import UserError
from worldeval.files import read_object, whole_file, write_json
from worldeval.policy.adapters.arm import Arm
from worldeval.policy.adapters.motion import Adapter, JointAdapter, UrdfMotion, arm_parts
from worldeval.policy.adapters.plain import PlainAdapter

CARD, ROBOT = "adapter.json", "robot.urdf"


@dataclass(frozen=True, kw_only=True)
class AdapterCard:
    """An adapter's source and target action spaces, and its kind."""

    policy: str  # action spaces, as data/space_text.py writes them
    world: str
    pose: str = ""  # what the world's proprioception means; "": positions, as the world's actions
    policy_fps: float
    world_fps: float
    kind: Literal["plain", "urdf", "learned"] = "plain"
    frame: str = ""  # link of the URDF that the world's poses refer to
    joints: tuple[str, ...] = ()  # of the URDF, in the policy's order; (): all that move the frame
    rest: tuple[float, ...] = ()
    # rad/s per unit of the policy's joint velocities, which may be normalised to a maximum.
    velocity_scale: float = 1.0
    held_out: Mapping[str, float] = field(default_factory=dict)  # errors on held-out recordings

    def __post_init__(self) -> None:
        rates = (self.policy_fps, self.world_fps)
        if not all(isfinite(fps) and fps > 0 for fps in rates):
            raise ValueError(f"policy_fps and world_fps are {rates}; both must be above 0")
        if not all(map(isfinite, (*self.rest, self.velocity_scale))):
            raise ValueError("rest and velocity_scale must be finite")
        steps = self.policy_fps / self.world_fps
        if steps < 1 or abs(steps - round(steps)) > 0.01:
            raise ValueError(
                f"policy_fps {self.policy_fps:g} is not a multiple of world_fps "
                f"{self.world_fps:g}; a world frame must last a whole number of policy steps"
            )

    @property
    def steps(self) -> int:
        return round(self.policy_fps / self.world_fps)

    @property
    def spaces(self) -> tuple[ActionSpace, ActionSpace]:
        return read_space(self.policy), read_space(self.world)


def make_adapter(card: AdapterCard, folder: Path) -> Adapter:
    """Build the adapter of a card whose robot or weights are in `folder`."""
    policy, world = card.spaces
    if card.kind == "plain":
        pose = read_space(card.pose) if card.pose else None
        return PlainAdapter(policy, world, steps=card.steps, fps=card.policy_fps, pose=pose)
    own, _ = arm_parts(policy, world)
    if card.kind == "urdf":
        arm = Arm(folder / ROBOT, frame=card.frame, joints=card.joints, rest=card.rest)
        motion = UrdfMotion(
            arm, control=own.control, fps=card.policy_fps, scale=card.velocity_scale
        )
    else:
        from worldeval.policy.adapters.learned_motion import load_motion

        motion = load_motion(folder)
    return JointAdapter(policy, world, motion, steps=card.steps)


def load_adapter(folder: Path) -> Adapter:
    """Load the adapter in a folder."""
    return make_adapter(read_card(folder), folder)


def read_card(folder: Path) -> AdapterCard:
    """Read an adapter's card."""
    if not (folder / CARD).is_file():
        raise UserError(
            f"{folder} contains no adapter (no {CARD}). Create one with `worldeval adapter urdf` "
            "or `worldeval adapter train`."
        )
    return build(AdapterCard, read_object(folder / CARD), where=str(folder / CARD))


def save_adapter(folder: Path, card: AdapterCard, *, urdf: Path | None = None) -> None:
    """Write an adapter that `load_adapter` reads; learned weights are written separately."""
    folder.mkdir(parents=True, exist_ok=True)
    if urdf is not None:
        if not urdf.is_file():
            raise UserError(f"There is no file {urdf}.")
        with whole_file(folder / ROBOT) as draft:
            shutil.copyfile(urdf, draft)
    write_json(folder / CARD, asdict(card))
