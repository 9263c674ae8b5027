"""A robot with two arms from recordings to a ranking: each arm is controlled in its own way."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from tests.support.reach_data import JUDGE, TINY
from worldeval.api.learn import learn
from worldeval.cli import app
from worldeval.data.formats.lerobot.layout import Layout
from worldeval.data.formats.lerobot.write import LeRobotWriter
from worldeval.errors import UserError
from worldeval.record import Episode
from worldeval.runs.store import RolloutStore

FRAMES = 12
ACTION = [
    {"names": ["ldx", "ldy", "ldz"], "means": "position", "unit": "m", "motion": "delta",
     "arm": "left"},
    {"names": ["lgrip"], "means": "gripper", "arm": "left", "open": 1, "closed": -1},
    {"names": ["r1", "r2"], "means": "joint", "unit": "rad", "arm": "right"},
]  # fmt: skip
POSE = [
    {"names": ["r1", "r2"], "means": "joint", "unit": "rad", "arm": "right"},
    {"names": ["lx", "ly", "lz"], "means": "position", "unit": "mm", "arm": "left"},
]
MAP = {"action": {"columns": ACTION}, "pose": {"columns": POSE}}
POLICIES = '''\
import numpy as np

from worldeval.policy.protocol import PolicySpec

SEEN = []


class Reach:
    """The right arm in degrees, the left one to a place in metres, read in metres too."""

    def __init__(self, space: str, name: str, width: int):
        self.spec = PolicySpec(name=name, lineage=name, step=0, views=("front",),
                               action_dim=width, chunk=2, space=space)

    def reset(self, tasks, seeds): ...

    def act(self, observation):
        pose = observation.pose  # right arm in degrees, then the left hand in metres
        assert pose.shape[1] == 5 and np.abs(pose[:, 2:]).max() < 2
        joints = pose[:, :2] + 5
        there = pose[:, 2:] + [0.02, 0, 0]
        act = np.concatenate([joints, there, np.zeros((len(pose), 1))], 1)
        return np.repeat(act[:, None], 2, 1).astype(np.float32)


def poses():
    return Reach("right: joint-position(2,deg)+0, left: ee-absolute(xyz)+1[0:1]", "poses", 6)


def wrong():
    return Reach("right: joint-position(3)+0, left: ee-absolute(xyz)+0", "wrong", 6)
'''


def episode(number: int) -> Episode:
    rng, good = np.random.default_rng(number), bool(number % 2)
    step = np.array([0.03 if good else -0.03, 0, 0])
    place, joints = rng.uniform(-0.1, 0.1, 3), rng.uniform(-0.1, 0.1, 2)
    frames, actions, poses = [], [], []
    for _ in range(FRAMES):
        frames.append(np.full((16, 16, 3), np.clip(128 + 400 * place[0], 0, 255), np.uint8))
        poses.append([*joints, *(1000 * place)])
        joints = joints + 0.1
        actions.append([*step, 1, *joints])
        place = place + step
    return Episode(
        id=f"{number}", frames={"front": np.stack(frames)}, task="reach", fps=5.0,
        actions=np.array(actions, np.float32), pose=np.array(poses, np.float32), success=good,
        source=f"policy-{number % 3}",
    )  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lab that was learned from recordings of two arms and a map of their columns."""
    home = tmp_path_factory.mktemp("arms")
    names = [tuple(n for each in side for n in each["names"]) for side in (ACTION, POSE)]  # type: ignore[union-attr]
    layout = Layout(fps=5.0, views={"front": (16, 16)}, action_names=names[0], pose_names=names[1])
    for name, numbers in (("demos", range(1, 25, 2)), ("tried", range(100, 118))):
        with LeRobotWriter(home / name, layout) as writer:
            for number in numbers:
                writer.add(episode(number))
    (home / "map.yaml").write_text(yaml.safe_dump(MAP))
    learn(
        home / "demos", home / "lab", rollouts=[home / "tried"], map=home / "map.yaml",
        settings=TINY, judge_settings=JUDGE, jobs=1, progress=False,
    )  # fmt: skip
    (home / "mine.py").write_text(POLICIES)
    return home


def test_the_world_knows_its_parts(home: Path) -> None:
    card = json.loads((home / "lab/world/world.json").read_text())
    assert card["spec"]["space"] == "left: ee-delta(xyz)+1[1:-1], right: joint-position(2)+0"
    assert card["spec"]["pose_space"] == ("right: joint-position(2)+0, left: ee-absolute(xyz,mm)+0")
    parts = {name: part["unit"] for name, part in card["fidelity"]["h1"]["parts"].items()}
    assert parts == {"right joints": "rad", "left position": "mm"}


def test_a_policy_of_other_forms_is_ranked(home: Path) -> None:
    ranked = CliRunner().invoke(
        app,
        ["rank", str(home / "lab"), "--policies", f"{home}/mine.py:poses", "--policies",
         "zero?action_dim=6&views=[front]&name=still", "--starts", "2", "--jobs", "1", "--films",
         "0", "--out", str(home / "run"), "--json", "--no-check"],
    )  # fmt: skip
    assert ranked.exit_code == 0, ranked.output
    summary = json.loads((home / "run/summary.json").read_text())
    assert {row["policy"] for row in summary["ranking"]["policies"]} == {"poses", "still"}
    store = RolloutStore(home / "run/imagined")
    found = [actions for facts, actions in store.actions() if facts.policy == "poses"]
    assert len(found) == 2
    actions = np.concatenate(found)
    steps = actions.reshape(-1, 6)
    np.testing.assert_allclose(steps[0, :3], [0.02, 0, 0], atol=1e-5)  # a change, in metres
    np.testing.assert_allclose(steps[:, 3], 1, atol=1e-5)  # open is 1 here and 0 for the policy


def test_a_part_that_does_not_fit_is_refused_by_name(home: Path) -> None:
    refused = CliRunner().invoke(
        app,
        ["rank", str(home / "lab"), "--policies", f"{home}/mine.py:wrong", "--starts", "2",
         "--jobs", "1", "--out", str(home / "bad"), "--json", "--no-check"],
    )  # fmt: skip
    assert isinstance(refused.exception, UserError)
    assert "Part 'left': the policy commands" in str(refused.exception)
