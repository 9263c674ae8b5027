"""Recordings of the toy robot with two joints, and the smallest settings that learn from them."""

from pathlib import Path

import numpy as np

from tests.support import gym_robot
from worldeval.config import read_settings
from worldeval.data.formats.lerobot.layout import Layout
from worldeval.data.formats.lerobot.write import LeRobotWriter
from worldeval.envs.address import open_environment
from worldeval.record import Episode

TINY = read_settings([
    "trainer.steps=6", "kinematics.trainer.steps=6", "tokenizer.trainer.steps=6", "width=16",
    "depth=1", "tokenizer.widths=[8,8,8]", "tokenizer.channels=4", "trainer.batch=8",
    "kinematics.trainer.batch=8", "size=[16,16]", "unroll=[[0.0,1]]",
])  # fmt: skip
JUDGE = {
    "trainer.steps": 8, "channels": 8, "hidden": 8, "recurrent": 4, "members": 1, "groups": 2,
}  # fmt: skip
FRAMES = 12
ADDRESS = "gym:toy/Reach-v0"
ELSEWHERE = "gym:tests.support.gym_robot:toy/Reach-v0"  # as other processes can import it


def driven(seed: int, *, good: bool, source: str) -> Episode:
    """An episode: straight to the goal, or away from it."""
    env = open_environment(ADDRESS, task="reach", size=0, steps_per_frame=1)
    frame = env.reset(seed)
    goal = env.env.unwrapped.goal  # type: ignore[attr-defined]
    seen, actions, flags = [frame], [], [False]
    for _ in range(FRAMES - 1):
        way = (goal - frame.pose) if good else (frame.pose - goal - 0.5)
        actions.append(np.clip(way / gym_robot.STEP, -1, 1).astype(np.float32))
        frame = env.step(actions[-1])
        seen.append(frame)
        flags.append(frame.success)
    return Episode(
        id=f"{source}-{seed}",
        frames={view: np.stack([f.frames[view] for f in seen]) for view in env.views},
        actions=np.stack([*actions, np.zeros(2, np.float32)]),
        pose=np.stack([f.pose for f in seen]),
        task="reach" if seed % 2 else "reach for the light",
        success=any(flags),
        fps=20.0,
        source=source,
    )


def written(folder: Path, episodes: list[Episode]) -> Path:
    shape = Layout(
        fps=20.0,
        views={view: frames.shape[1:3] for view, frames in episodes[0].frames.items()},
        action_names=("j1", "j2"),
        pose_names=("j1", "j2"),
    )
    with LeRobotWriter(folder, shape) as writer:
        for episode in episodes:
            writer.add(episode)
    return folder
