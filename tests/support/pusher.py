"""A world so small that everything about it is known: a hand that pushes a block along a row.

One view of 8 x 8 cells with two channels: the hand and the block, each one cell. Every frame the
hand goes one column to the right or stays; where it arrives at the block, the block goes with it.
"""

import numpy as np

from worldeval.data.latents import LatentEpisodes
from worldeval.world.hand.commands import actuation_of
from worldeval.world.latent.recipe import LatentRecipe
from worldeval.world.protocol import WorldSpec
from worldeval.world.recipe import ActuationRecipe, KinematicsRecipe
from worldeval.world.training.windows import Windows

SIDE, FRAMES = 8, 6
TOLD = ActuationRecipe(scale=0.1, low=(0, 0, -1), high=(1, 1, 1))
SPEC = WorldSpec(
    views=("top",),
    size=(16, 16),
    latent=(2, SIDE, SIDE),
    action_dim=4,
    pose_dim=4,
    tasks=("push",),
    fps=10.0,
)


def recipe(network: str, **changed) -> LatentRecipe:
    """A recipe that trains on the pushed block in seconds."""
    small = KinematicsRecipe(width=8, depth=1, sight=4)
    return LatentRecipe(network=network, kinematics=small, actuation=TOLD, **changed)  # type: ignore[arg-type]


def drawn(hand: tuple[int, int], block: tuple[int, int]) -> np.ndarray:
    """The cells of a frame; an object's own cell is 2, the others -0.1."""
    cells = np.full((1, 2, SIDE, SIDE), -0.1, np.float32)
    cells[0, 0, *hand] = cells[0, 1, *block] = 2.0
    return cells


def pushes(*, episodes: int = 150, seed: int = 0) -> LatentEpisodes:
    """Episodes with the block anywhere: half of the hands are in its row, to the left of it."""
    rng = np.random.default_rng(seed)
    latents, pose, actions = [], [], []
    for _ in range(episodes):
        block = (int(rng.integers(SIDE)), int(rng.integers(1, 4)))
        row = block[0] if rng.random() < 0.5 else int(rng.integers(SIDE))
        hand = (row, int(rng.integers(block[1])))
        for _ in range(FRAMES):
            moves = int(rng.random() < 0.7 and hand[1] < SIDE - 2)
            latents.append(drawn(hand, block))
            pose.append([hand[1] / 10, hand[0] / 10, 0, 0])
            actions.append([moves, 0, 0, 0])
            hand = (hand[0], hand[1] + moves)
            if hand == block:
                block = (block[0], min(block[1] + 1, SIDE - 1))
    length = np.full(episodes, FRAMES)
    return LatentEpisodes(
        latents=np.stack(latents).astype(np.float16),
        actions=np.array(actions, np.float32),
        pose=np.array(pose, np.float32),
        task=np.zeros(episodes, np.int64),
        begin=np.cumsum(length) - length,
        length=length,
    )


def windows_of(data: LatentEpisodes) -> Windows:
    return Windows(data, actuation_of(TOLD, SPEC))
