"""A toy robot: a dot that follows commands, in two 16-pixel views, learned in seconds."""

from pathlib import Path

import numpy as np

from worldeval.data.formats.shards.layout import ShardEpisode, write_shard
from worldeval.record import Episode
from worldeval.world.latent.recipe import LatentRecipe
from worldeval.world.recipe import (
    ActuationRecipe,
    KinematicsRecipe,
    TokenizerRecipe,
    TrainerRecipe,
)

SIZE, FRAMES, STEPS = 16, 9, 2
TASKS = ("left", "right")
SCALE = 0.05  # metres a unit of action


def toy_recipe(*, steps: int = 200) -> LatentRecipe:
    """A world model that trains on the toy in a few seconds."""

    def trainer(count: int) -> TrainerRecipe:
        return TrainerRecipe(steps=count, batch=16, ema=0.9)

    return LatentRecipe(
        width=32,
        depth=1,
        unroll=((0.0, 1), (0.5, 2)),
        tokenizer=TokenizerRecipe(widths=(8, 16), channels=4, trainer=trainer(steps)),
        actuation=ActuationRecipe(scale=SCALE, low=(-1, -1, -1), high=(1, 1, 1)),
        kinematics=KinematicsRecipe(width=32, depth=1, sight=4, unroll=2, trainer=trainer(steps)),
        held_out=0.25,
        trainer=trainer(steps),
    )


def toy_shards(folder: Path, *, episodes: int = 16, seed: int = 0, source: str = "expert") -> Path:
    """A folder of shards: the dot walks at random; it succeeds when it gets to its task's side."""
    rng = np.random.default_rng(seed)
    for task in TASKS:
        items = [_episode(task, f"{task}-{seed}-{i}", rng, source) for i in range(episodes)]
        write_shard(folder / f"{task}.h5", items)
    return folder


def picture(position: np.ndarray) -> np.ndarray:
    """A grey image with a 4-pixel square where the dot is; position from -1 to 1."""
    image = np.full((SIZE, SIZE, 3), 90, np.uint8)
    x, y = np.clip(((position[:2] + 1) / 2 * (SIZE - 4)).round().astype(int), 0, SIZE - 4)
    image[y : y + 4, x : x + 4] = (240, 40, 40)
    return image


def _episode(task: str, name: str, rng: np.random.Generator, source: str) -> ShardEpisode:
    position = rng.uniform(-0.3, 0.3, 3)
    drift = rng.choice([-1.0, 1.0])
    poses, actions = [], []
    for _ in range(FRAMES):
        action = rng.uniform(-1, 1, (STEPS, 4))
        action[:, 0] = np.clip(action[:, 0] + drift, -1, 1)
        poses.append(np.append(position, 0.5))
        actions.append(action.reshape(-1))
        position = np.clip(position + SCALE * action[:, :3].sum(0), -1, 1)
    pose = np.array(poses, np.float32)
    reached = pose[:, 0] < -0.4 if task == "left" else pose[:, 0] > 0.4
    side = np.stack([picture(p) for p in pose])
    top = np.stack([picture(p[[1, 0, 2]]) for p in pose])
    episode = Episode(
        id=name,
        frames={"side": side, "top": top},
        actions=np.array(actions, np.float32),
        pose=pose,
        task=task,
        success=bool(reached.any()),
        fps=16.0,
        source=source,
    )
    return ShardEpisode(episode=episode, flags=reached.astype(np.uint8), seed=0)
