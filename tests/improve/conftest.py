"""A dot in a world that is exactly known, a judge that measures it, and policies for it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from tests.support.toy import SCALE, SIZE, STEPS, TASKS, picture, toy_shards
from worldeval.data.table import RecordedEpisodes, read_table
from worldeval.improve.place import Simulation
from worldeval.policy.checkpoint import LearnedPolicy, load
from worldeval.policy.recipe import (
    AugmentRecipe,
    DemoGroup,
    Lineage,
    NetworkRecipe,
    PolicyRecipe,
    PolicyTrainerRecipe,
)
from worldeval.policy.train import train
from worldeval.record import Rollout, Start, Verdict
from worldeval.world.protocol import WorldSpec

HORIZON = 8
# All episodes, whichever way they went: the policy goes left or right, whatever its task.
UNDECIDED = PolicyRecipe(
    demos=(DemoGroup(sources=("expert",), success=None),),
    validation_per_task=1,
    augment=AugmentRecipe(shift=0, brightness=0, noise=0, blur=0),
    network=NetworkRecipe(widths=(4, 8, 8), squeeze=4, embed=16, hidden=48),
    trainer=PolicyTrainerRecipe(steps=150, batch=64, warmup=5, learning_rate=5e-3, ema=0.95),
    ddim_steps=5,
    flow_steps=5,
)


class DotWorld:
    """The dot goes exactly where it is told; its latents are the two pictures, from 0 to 1."""

    def __init__(self, *, drift: float = 0.0) -> None:
        self.drift = drift  # metres a frame to the left: a world that errs
        self.begun = 0

    @property
    def spec(self) -> WorldSpec:
        return WorldSpec(
            views=("side", "top"),
            size=(SIZE, SIZE),
            latent=(3, SIZE, SIZE),
            action_dim=4 * STEPS,
            pose_dim=4,
            tasks=TASKS,
            fps=16.0,
        )

    def begin(self, frames, pose, tasks, seeds) -> np.ndarray:
        self.begun += len(tasks)
        return np.asarray(pose, np.float32)

    def branch(self, state: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return state[rows]

    def observe(self, state: np.ndarray, frames, pose, tasks) -> np.ndarray:
        return np.asarray(pose, np.float32)

    def step(self, state: np.ndarray, actions: np.ndarray) -> np.ndarray:
        moved = state.copy()
        moved[:, :3] += SCALE * actions.reshape(len(actions), STEPS, 4)[:, :, :3].sum(1)
        moved[:, 0] -= self.drift
        return np.clip(moved, -1, 1)

    def latents(self, state: np.ndarray) -> np.ndarray:
        pictures = [np.stack([picture(p), picture(p[[1, 0, 2]])]) for p in state]
        return np.moveaxis(np.stack(pictures), -1, 2).astype(np.float32) / 255

    def pose(self, state: np.ndarray) -> np.ndarray:
        return state

    def render(self, latents: np.ndarray, tasks: Sequence[str]) -> dict[str, np.ndarray]:
        frames = np.moveaxis(np.round(latents * 255), 2, -1).astype(np.uint8)
        return {"side": frames[:, 0], "top": frames[:, 1]}


@dataclass(frozen=True)
class DotJudge:
    """Success is certain where the dot has gone `far` to its task's side, and likelier near it."""

    far: float = 0.25

    def over_time(self, rollouts: Sequence[Rollout]) -> np.ndarray:
        sign = np.array([-1 if rollout.task == "left" else 1 for rollout in rollouts])
        gone = sign[:, None] * np.stack([rollout.pose[:, 0] for rollout in rollouts])
        return np.clip(0.5 + (gone - self.far) * 2.5, 0.02, 0.98)

    def __call__(self, rollouts: Sequence[Rollout]) -> list[Verdict]:
        out = []
        for seen in self.over_time(rollouts)[:, 1:]:
            out.append(
                Verdict(
                    probability=float(seen.max()),
                    step=int(seen.argmax()) + 1,
                    judge="ruler",
                    votes=(float(seen.max()),),
                )
            )
        return out


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_shards(tmp_path_factory.mktemp("improve") / "data", episodes=24)


@pytest.fixture(scope="session")
def shards(data: Path) -> RecordedEpisodes:
    return read_table(data)


@pytest.fixture(scope="session")
def trained(shards: RecordedEpisodes, tmp_path_factory: pytest.TempPathFactory):
    """Makes the checkpoint folder of an undecided policy, once for each kind of head."""
    kept: dict[str, Path] = {}

    def make(head: str) -> Path:
        if head not in kept:
            out = tmp_path_factory.mktemp(head)
            recipe = replace(UNDECIDED, head=head)
            lineage = Lineage(name=f"dot-{head}", seed=1)
            (done,) = train(recipe, lineage, shards, out)
            kept[head] = done.folder
        return kept[head]

    return make


@pytest.fixture
def undecided(trained) -> LearnedPolicy:
    return load(trained("diffusion"))


@pytest.fixture
def place() -> Simulation:
    return Simulation(world=DotWorld(), judge=DotJudge(), horizon=HORIZON, replan_every=2, batch=16)


def start(task: str, number: int, x: float = 0.0) -> Start:
    """A start with the dot at `x`."""
    pose = np.array([x, 0, 0, 0.5], np.float32)
    frames = {"side": picture(pose), "top": picture(pose[[1, 0, 2]])}
    return Start(id=f"{task}-{number}", task=task, seed=number, frames=frames, pose=pose)


@pytest.fixture
def starts() -> list[Start]:
    return [start(task, number) for task in TASKS for number in range(8)]
