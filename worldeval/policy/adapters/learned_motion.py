"""An arm learned from recordings, for when there is no URDF or the controller's lag matters.

Three small networks: joints and a world frame's commands to the next joints; joints to the end
effector; the end effector to joints. The second network's error at an observed pose is subtracted
from its next prediction, so that only the error of the motion remains.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from scipy.spatial.transform import Rotation
from torch import Tensor, nn

from worldeval.axes import Array
from worldeval.checked_weights import described, fill, load_checked, save_checked
from worldeval.config import build
from worldeval.data.rotation import read_rotation, write_rotation
from worldeval.errors import UserError
from worldeval.files import read_object, write_json
from worldeval.policy.adapters.joint_records import JointRecord

SIZES, WEIGHTS = "motion.json", "motion.safetensors"
POSE = 9  # position and two columns of the rotation's matrix


@dataclass(frozen=True, kw_only=True)
class MotionSizes:
    """Dimensions of the networks."""

    joints: int
    steps: int  # commands per world frame
    width: int = 128


class Normal(nn.Module):
    """A small MLP with inputs and targets normalised to mean 0 and standard deviation 1."""

    centre: Tensor
    scale: Tensor
    out_centre: Tensor
    out_scale: Tensor

    def __init__(self, inputs: int, outputs: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(inputs, width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Linear(width, outputs),
        )
        self.register_buffer("centre", torch.zeros(inputs))
        self.register_buffer("scale", torch.ones(inputs))
        self.register_buffer("out_centre", torch.zeros(outputs))
        self.register_buffer("out_scale", torch.ones(outputs))

    def fit_scales(self, given: Float[Tensor, "n i"], target: Float[Tensor, "n o"]) -> None:
        self.centre.copy_(given.mean(0))
        self.scale.copy_(given.std(0).clamp_min(1e-4))
        self.out_centre.copy_(target.mean(0))
        self.out_scale.copy_(target.std(0).clamp_min(1e-4))

    def forward(self, given: Float[Tensor, "n i"]) -> Float[Tensor, "n o"]:
        normal = self.layers((given - self.centre) / self.scale)
        return normal * self.out_scale + self.out_centre


class LearnedMotion(nn.Module):
    """A `Motion` (see motion.py) made of the three networks."""

    rest_posture: Tensor

    def __init__(self, sizes: MotionSizes) -> None:
        super().__init__()
        self.sizes, j = sizes, sizes.joints
        self.mover = Normal(j * (1 + sizes.steps), j, sizes.width)  # the change of the joints
        self.places = Normal(2 * j, POSE, sizes.width)
        self.postures = Normal(POSE, j, sizes.width)
        self.register_buffer("rest_posture", torch.zeros(j))
        self._off: Float[Array, "n 3"] = np.zeros((0, 3))
        self._turned = Rotation.identity(0)

    @property
    def rest(self) -> Float[Array, " j"]:
        return self.rest_posture.double().numpy()

    @torch.no_grad()
    def joints(
        self, place: Float[Array, "n 3"], turn: Rotation, near: Float[Array, "n j"]
    ) -> Float[Array, "n j"]:
        """Return joints as in the recordings at this pose; `near` is not used."""
        seen = np.concatenate([place, write_rotation(turn, "6d")], axis=1)
        found = self.postures(torch.from_numpy(seen).float()).double().numpy()
        here, facing = self._where(found)
        self._off, self._turned = place - here, facing.inv() * turn
        return found

    @torch.no_grad()
    def move(
        self, joints: Float[Array, "n j"], commands: Float[Array, "n s j"]
    ) -> tuple[Float[Array, "n j"], Float[Array, "n 3"], Rotation]:
        """Predict joints and end effector one world frame later."""
        given = np.concatenate([joints, commands.reshape(len(commands), -1)], axis=1)
        moved = self.mover(torch.from_numpy(given).float()).double().numpy()
        after = joints + moved
        place, turn = self._where(after)
        return after, place + self._off, turn * self._turned

    def _where(self, joints: Float[Array, "n j"]) -> tuple[Float[Array, "n 3"], Rotation]:
        out = self.places(_circle(torch.from_numpy(joints).float())).double().numpy()
        return out[:, :3], read_rotation(out[:, 3:], "6d")


def fit_motion(
    records: Sequence[JointRecord],
    *,
    steps: int,
    generator: torch.Generator,
    iterations: int = 3000,
    batch: int = 256,
) -> LearnedMotion:
    """Fit to recordings: each network by its normalised squared error."""
    sizes = MotionSizes(joints=records[0].joints.shape[1], steps=steps)
    with torch.random.fork_rng():
        torch.manual_seed(int(torch.randint(2**31, (1,), generator=generator)))
        motion = LearnedMotion(sizes)
    frames = [(record, t) for record in records for t in range(len(record.joints) - steps)]
    if not frames:
        raise UserError(f"The recordings are shorter than one world frame of {steps} steps.")
    joints = _tensor([record.joints[t] for record, t in frames])
    commands = _tensor([record.commands[t : t + steps].ravel() for record, t in frames])
    change = _tensor([record.joints[t + steps] - record.joints[t] for record, t in frames])
    poses = _tensor(np.concatenate([_seen(record)[:-steps] for record in records]))
    motion.rest_posture.copy_(joints.mean(0))
    tasks = [
        (motion.mover, torch.cat([joints, commands], 1), change),
        (motion.places, _circle(joints), poses),
        (motion.postures, poses, joints),
    ]
    for network, given, target in tasks:
        network.fit_scales(given, target)
        _fit(network, given, target, iterations=iterations, batch=batch, generator=generator)
    return motion.eval()


def save_motion(folder: Path, motion: LearnedMotion) -> None:
    """Write what `load_motion` reads."""
    folder.mkdir(parents=True, exist_ok=True)
    save_checked(folder / WEIGHTS, motion.state_dict())
    write_json(folder / SIZES, asdict(motion.sizes))


def load_motion(folder: Path) -> LearnedMotion:
    """Load the learned motion in a folder."""
    path = folder / SIZES
    with described(path):
        motion = LearnedMotion(build(MotionSizes, read_object(path), where=str(path)))
    fill(motion, load_checked(folder / WEIGHTS), folder / WEIGHTS)
    return motion.eval()


def _fit(
    network: Normal,
    given: Float[Tensor, "n i"],
    target: Float[Tensor, "n o"],
    *,
    iterations: int,
    batch: int,
    generator: torch.Generator,
) -> None:
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, iterations)
    for _ in range(iterations):
        rows = torch.randint(len(given), (batch,), generator=generator)
        wrong = (network(given[rows]) - target[rows]) / network.out_scale
        optimiser.zero_grad()
        wrong.square().mean().backward()
        optimiser.step()
        schedule.step()


def _seen(record: JointRecord) -> Float[Array, "t d"]:
    return np.concatenate([record.pose[:, :3], write_rotation(record.turn, "6d")], axis=1)


def _circle(joints: Float[Tensor, "n j"]) -> Float[Tensor, "n i"]:
    """Sine and cosine features of the joints, from which an end effector's pose is composed."""
    return torch.cat([joints.sin(), joints.cos()], 1)


def _tensor(rows: Sequence[Array] | Array) -> Float[Tensor, "n d"]:
    return torch.from_numpy(np.asarray(rows, np.float32))
