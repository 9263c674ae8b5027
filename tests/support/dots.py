"""A robot so small that everything about it is known: a dot on a line, in two views of cells."""

import numpy as np
import torch

from worldeval.data.latents import LatentEpisodes
from worldeval.world.hand.commands import actuation_of
from worldeval.world.protocol import WorldSpec
from worldeval.world.recipe import ActuationRecipe
from worldeval.world.training.windows import Windows

LATENT = (2, 1, 4, 4)  # views, channels, cells
SPEC = WorldSpec(
    views=("side", "top"),
    size=(16, 16),
    latent=(1, 4, 4),
    action_dim=4,
    pose_dim=4,
    tasks=("left", "right"),
    fps=10.0,
)
SCALE = 0.2  # metres a unit of action
TOLD = ActuationRecipe(scale=SCALE, low=(-1, -1, -1), high=(1, 1, 1))
ACTUATION = actuation_of(TOLD, SPEC)


def drawn(x: float) -> np.ndarray:
    """The cells of a position from -1 to 1: how near each column's middle is."""
    near = np.exp(-np.square((np.linspace(-1, 1, 4) - x) / 0.4)) * 2 - 1
    cells = np.broadcast_to(near, (1, 4, 4))
    return np.stack([cells, cells.transpose(0, 2, 1)])


def walks(*, episodes: int = 12, length: int = 9, seed: int = 0, judged: bool = True):
    """Random walks of the dot; it succeeds on the half of the line that its task names."""
    rng = np.random.default_rng(seed)
    latents, actions, pose, flags, task = [], [], [], [], []
    for index in range(episodes):
        x, which = float(rng.uniform(-0.5, 0.5)), index % 2
        task.append(which)
        drift = float(rng.choice([-0.6, 0.6]))
        for _ in range(length):
            action = np.zeros(4, np.float32)
            action[0] = np.clip(rng.normal(drift, 0.5), -1, 1)
            latents.append(drawn(x))
            pose.append([x, 0, 0, 0.5])
            flags.append(x < -0.5 if which == 0 else x > 0.5)
            actions.append(action)
            x = float(np.clip(x + SCALE * action[0], -1, 1))
    lengths = np.full(episodes, length)
    return LatentEpisodes(
        latents=np.array(latents).astype(np.float16),
        actions=np.array(actions, np.float32),
        pose=np.array(pose, np.float32),
        task=np.array(task),
        begin=np.cumsum(lengths) - lengths,
        length=lengths,
        flags=np.array(flags, np.uint8) if judged else None,
    )


def windows_of(data: LatentEpisodes) -> Windows:
    return Windows(data, ACTUATION, torch.ones(4))
