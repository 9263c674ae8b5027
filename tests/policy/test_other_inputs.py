"""Policies of other inputs, by address: point clouds (as 3D Diffuser Actor), words (as ACoT-VLA).

Models of these kinds need calibrated depth or a large language model, so none is ours. What an
adapter to them has to do is small, and is done here by toys whose answers are known.
"""

from pathlib import Path

import msgpack
import numpy as np
import pytest

from tests.policy.test_remote import heard, running, spoken
from tests.support.imagined_run import fresh_judge, fresh_world, toy_starts
from tests.support.toy import TASKS, picture
from worldeval.api import rank
from worldeval.judge.load import load_judge
from worldeval.policy.load import load_policy
from worldeval.record import Observation
from worldeval.rollout.loop import imagine
from worldeval.world.load import load_world

# What a lab writes: a function that makes the policy, with its adapter around the model.
POINTS = '''
import numpy as np

from worldeval.policy.protocol import PolicySpec

SPAN = 16 - 4  # pixels between the ends of the reach


def lifted(side, top):
    """A coloured point cloud from two calibrated cameras: (n, 3) metres, (n, 3) colours.

    The side camera sees x and y and the top camera y and x, so both see every point of this robot,
    whose height does not change.
    """
    places, colours = [], []
    for image, axes in ((side, (0, 1)), (top, (1, 0))):
        rows, columns = np.nonzero(image[..., 0] > image[..., 1] + 60)
        seen = (np.stack([columns, rows], 1) - 1.5) / SPAN * 2 - 1
        point = np.zeros((len(seen), 3))
        point[:, list(axes)] = seen
        places.append(point)
        colours.append(image[rows, columns] / 255)
    return np.concatenate(places), np.concatenate(colours)


class Model:
    """Stands for a model of point clouds: goes where the red points are."""

    def __call__(self, points, colours, pose):
        return np.clip(10 * (points.mean(0) - pose[:3]), -1, 1)


class Adapter:
    def __init__(self, chunk, steps):
        self.model, self.steps = Model(), steps
        self.spec = PolicySpec(
            name="points/step-1", lineage="points", step=1, views=("side", "top"),
            action_dim=4 * steps, chunk=chunk,
        )

    def reset(self, tasks, seeds):
        pass

    def act(self, observation):
        out = []
        for row in range(len(observation)):
            seen = [np.asarray(observation.frames[view][row], int) for view in ("side", "top")]
            points, colours = lifted(*seen)
            aim = np.zeros(3)
            if len(points):  # an imagined picture may show nothing red
                aim = self.model(points, colours, observation.pose[row])
            out.append(np.tile(np.append(aim, 0.0), (self.spec.chunk, self.steps)))
        return np.array(out, np.float32)


def make(chunk=2, steps=2):
    return Adapter(chunk, steps)
'''


class Words:
    """A server that stands for a model of words and pictures: it goes where the words say."""

    def __init__(self) -> None:
        self.prompts: list[str] = []
        self.seen: list[float] = []

    def __call__(self, connection) -> None:
        connection.send(msgpack.packb({}))
        for message in connection:
            request = msgpack.unpackb(message)
            self.prompts.append(request["prompt"])
            self.seen.append(float(heard(request["observation/image"]).mean()))
            turn = -1.0 if "left" in request["prompt"].split() else 1.0
            step = np.array([turn, 0.0, 0.0, 0.0])
            connection.send(msgpack.packb({"actions": spoken(np.tile(step, (4, 1)))}))


KEYS = "keys=side=observation/image;state=observation/pose:4&action_dim=4&chunk=4"


@pytest.fixture
def points(tmp_path: Path) -> str:
    file = tmp_path / "mine.py"
    file.write_text(POINTS)
    return f"{file}:make?chunk=3"


def at(*positions: tuple[float, float]) -> Observation:
    """The dot's pictures at positions, from a hand at the middle."""
    places = [np.array([x, y, 0.0]) for x, y in positions]
    frames = {
        "side": np.stack([picture(place) for place in places]),
        "top": np.stack([picture(place[[1, 0, 2]]) for place in places]),
    }
    pose = np.zeros((len(places), 4), np.float32)
    return Observation(frames=frames, pose=pose, tasks=("left",) * len(places))


def test_a_point_cloud_is_lifted_from_the_pictures_of_the_observation(points: str) -> None:
    policy = load_policy(points)
    assert policy.spec.chunk == 3 and policy.spec.action_dim == 8
    policy.reset(["left"] * 2, [0, 1])
    pixel = 2 / 12
    acted = policy.act(at((0.05, -0.05), (-0.5, 0.02)))
    assert acted.shape == (2, 3, 8)
    first = acted[0, 0, :2] / 10  # of the action's two steps, both go to the same place
    assert np.abs(first - [0.05, -0.05]).max() < pixel / 2
    assert acted[1, 0, 0] == -1  # far to the left
    assert np.array_equal(acted[:, :, :4], acted[:, :, 4:])


def test_words_of_the_task_reach_a_policy_on_a_server() -> None:
    words = Words()
    with running(words) as address:  # type: ignore[arg-type]
        policy = load_policy(f"{address}?{KEYS}&steps_per_frame=2&name=words")
        policy.reset(["push to the left", "push to the right"], [0, 1])
        seen = at((0.2, 0.0), (0.2, 0.0))
        tasks = ("push to the left", "push to the right")
        acted = policy.act(Observation(frames=seen.frames, pose=seen.pose, tasks=tasks))
    assert words.prompts == list(tasks)
    assert acted.shape == (2, 2, 8)  # four steps are two frames
    assert acted[0, 0, 0] == -1 and acted[1, 0, 0] == 1
    assert words.seen[0] == pytest.approx(seen.frames["side"][0].mean(), abs=0.01)


def test_both_act_in_an_imagined_world(points: str, tmp_path: Path) -> None:
    world = load_world(fresh_world(tmp_path / "world"))
    fresh_judge(tmp_path / "judge")
    begins, words = toy_starts(2), Words()
    seeds = [start.seed for start in begins]
    with running(words) as address:  # type: ignore[arg-type]
        spoken_to = load_policy(f"{address}?{KEYS}&steps_per_frame=2&name=words")
        found = imagine(world, spoken_to, begins, horizon=4, replan_every=2, seeds=seeds)
        for rollout in found:
            assert np.all(rollout.actions[:, 0] == (-1 if rollout.task == "left" else 1))
        assert set(words.prompts) == set(TASKS)
        result = rank.rank(
            [load_policy(points), spoken_to],
            world,
            load_judge(tmp_path / "judge"),
            begins,
            horizon=4,
            progress=False,
        )
    assert sorted(result.policies["policy"]) == ["points/step-1", "words"]
    assert len(result.episodes) == 2 * len(begins) and not result.errors
