"""The probe of objects with known answers: states that latents show, perfect and blind worlds."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import worldeval as we
from tests.support import pusher
from worldeval.data.columns import ColumnGroup
from worldeval.data.formats.shards.layout import ShardEpisode, write_shard
from worldeval.data.source import open_source
from worldeval.envs.protocol import EnvFrame
from worldeval.errors import UserError
from worldeval.record import Episode
from worldeval.rollout.replayed_objects import replayed_objects
from worldeval.training.recipe import TrainerRecipe
from worldeval.world.fidelity.held_out import Held, OpenLoop
from worldeval.world.fidelity.objects import errors, fit_state_probe, probed

COLUMNS = (
    ColumnGroup(names=("x", "y", "z"), means="position", unit="m"),
    ColumnGroup(names=("lid",), means="joint", unit="rad"),
)


def test_errors_are_in_the_units_of_the_state() -> None:
    true = np.zeros((2, 4))
    read = np.array([[0.003, 0.004, 0, np.pi], [0, 0, 0, 0]])
    found = errors(read, true, COLUMNS)
    assert found["x, y, z (mm)"].tolist() == pytest.approx([5, 0])
    assert found["lid (deg)"].tolist() == pytest.approx([180, 0])


BLOCK = (ColumnGroup(names=("row", "column"), means="planar", unit="m"),)


def held_of(seed: int, episodes: int) -> tuple[Held, np.ndarray]:
    """Pushed blocks as held-out episodes, and where the block is in every frame, a cell a metre."""
    data = pusher.pushes(episodes=episodes, seed=seed)
    latents = np.asarray(data.latents, np.float32).reshape(
        episodes, pusher.FRAMES, 1, 2, pusher.SIDE, pusher.SIDE
    )
    cell = latents[:, :, 0, 1].reshape(episodes, pusher.FRAMES, -1).argmax(2)
    states = np.stack([cell // pusher.SIDE, cell % pusher.SIDE], 2).astype(np.float32)
    shape = (episodes, pusher.FRAMES, -1)
    held = Held(
        latents=latents, frames=None, actions=data.actions.reshape(shape),
        pose=data.pose.reshape(shape), tasks=("push",) * episodes,
        length=np.full(episodes, pusher.FRAMES),
    )  # fmt: skip
    return held, states


def test_a_perfect_world_keeps_the_object_and_one_that_loses_it_does_not() -> None:
    seen, states = held_of(0, 120)
    trainer = TrainerRecipe(steps=200, batch=32, learning_rate=4e-3, ema=0.95)
    probe = fit_state_probe(seen, states, seed=0, trainer=trainer)
    held, truth = held_of(1, 40)
    perfect = OpenLoop(latents=held.latents, pose=held.pose)
    found = probed(probe, held, truth, perfect, BLOCK, horizons=(1, 5))["h5"]
    name = "row, column (mm)"
    assert found.imagined == found.recorded and found.ratio[name] == 1
    assert found.recorded[name].value < 0.3 * found.unmoved[name].value + 300
    assert found.still_there.value == found.still_there_recorded.value > 0.75
    assert found.still_there_by_chance is not None and found.still_there_by_chance.value < 0.3
    gone = held.latents.copy()
    gone[:, 1:, :, 1] = -0.1  # the block's channel shows nothing
    lost = probed(
        probe, held, truth, replace(perfect, latents=gone), BLOCK, horizons=(5,)
    )["h5"]  # fmt: skip
    assert lost.still_there.value < 0.3 and lost.ratio[name] > 3


class Pushed:
    """A simulator that tells where its block is: a step of the hand's command, once it touches."""

    views, action_dim, fps = ("top",), 1, 10.0
    object_columns = (ColumnGroup(names=("block",), unit="m"),)

    def __init__(self, steps_per_frame: int = 1, drift: float = 0.0, tells: bool = True) -> None:
        self.steps_per_frame, self.drift, self.tells = steps_per_frame, drift, tells
        self.action_dim = steps_per_frame
        if not tells:
            self.object_columns = ()

    def reset(self, seed: int) -> EnvFrame:
        self.hand, self.block = 0.0, 0.2 + 0.1 * (seed % 3)
        return self.frame()

    def step(self, action, *, look: bool = True) -> EnvFrame:
        for each in action:
            self.hand += float(each) + self.drift
            self.block = max(self.block, self.hand)
        return self.frame()

    def frame(self) -> EnvFrame:
        image = np.full((16, 16, 3), 90, np.uint8)
        image[:4, int(8 * self.hand) : int(8 * self.hand) + 4] = 200
        image[8:12, int(8 * self.block) : int(8 * self.block) + 4] = (240, 20, 20)
        told = np.array([self.block], np.float32) if self.tells else None
        pose = np.array([self.hand, 0, 0, 0], np.float32)
        return EnvFrame(frames={"top": image}, pose=pose, success=False, objects=told)

    def close(self) -> None:
        pass


HERE = Path(__file__)


def recorded(folder: Path, *, episodes: int = 16, seeds: int = 0) -> Path:
    """Episodes of the simulator with two steps a frame."""
    rng, items = np.random.default_rng(0), []
    env = Pushed(2)
    for number in range(episodes):
        seen, actions = [env.reset(seeds + number)], []
        for _ in range(5):
            actions.append(rng.uniform(0, 0.1, 2).astype(np.float32))
            seen.append(env.step(actions[-1]))
        episode = Episode(
            id=f"e{number}", frames={"top": np.stack([frame.frames["top"] for frame in seen])},
            actions=np.stack([*actions, np.zeros(2, np.float32)]),
            pose=np.stack([frame.pose for frame in seen]), task="push", success=True, fps=5.0,
        )  # fmt: skip
        flags = np.ones(6, np.uint8)
        items.append(ShardEpisode(episode=episode, flags=flags, seed=seeds + number))
    write_shard(folder / "push.h5", items)
    return folder


def test_recorded_episodes_are_replayed_for_the_state(tmp_path: Path) -> None:
    source = open_source(recorded(tmp_path, episodes=3))
    columns, read = replayed_objects(f"{HERE}:Pushed", task="push")
    assert columns == Pushed.object_columns
    found = read(source, np.array([2, 0]), 8)
    assert found.shape == (2, 8, 1)
    hand = source.rows(2).pose[:, 0]
    assert found[0, :6, 0].tolist() == pytest.approx(np.maximum(0.4, hand).tolist(), abs=1e-5)
    assert (found[0, 6:] == found[0, 5]).all()  # shorter episodes repeat their last frame


@pytest.mark.parametrize(
    ("query", "message"),
    [("?tells=false", "does not tell the state"), ("?drift=0.01", "comes out otherwise")],
)
def test_simulators_that_do_not_fit_are_refused(tmp_path: Path, query: str, message: str) -> None:
    source = open_source(recorded(tmp_path, episodes=2))
    with pytest.raises(UserError, match=message):
        _, read = replayed_objects(f"{HERE}:Pushed{query}", task="push")
        read(source, np.array([0]), 4)


def test_fidelity_measures_objects_where_a_simulator_is_named(tmp_path: Path) -> None:
    data = recorded(tmp_path / "data")
    settings = {
        "trainer.steps": 4, "kinematics.trainer.steps": 4, "tokenizer.trainer.steps": 4,
        "width": 16, "depth": 1, "tokenizer.widths": [8, 8, 8], "tokenizer.channels": 4,
        "trainer.batch": 8, "kinematics.trainer.batch": 8, "held_out": 0.3, "unroll": [[0.0, 1]],
        "kinematics.unroll": 2, "actuation.scale": 0.0,
    }  # fmt: skip
    we.train_world(data, tmp_path / "world", settings=settings, jobs=1, progress=False)
    asked = {"horizons": (1, 4), "episodes": 3}
    found = we.fidelity(tmp_path / "world", data, probe=f"{HERE}:Pushed", **asked).record
    row = found["objects"]["h4"]
    assert row["recorded"]["block (mm)"]["n"] == 3
    assert 0 <= row["still_there"]["value"] <= 1
    without = we.fidelity(tmp_path / "world", data, **asked).record
    assert without["objects"] is None and "--probe" in without["not_measured"]["objects"]
