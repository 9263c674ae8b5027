"""LeRobot checkpoints run as `select_action` runs them, with a stand-in for LeRobot itself."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from worldeval.errors import UserError
from worldeval.policy.lerobot_policy import LeRobotPolicy
from worldeval.policy.load import expand, load_policy
from worldeval.record import Observation
from worldeval.rollout.chunks import ChunkQueue

STANDINS = Path(__file__).parents[1] / "support" / "standins"
STEPS, EPISODES = 14, 3
CAMERA = "observation.images.side"


@pytest.fixture
def lerobot(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(STANDINS))
    yield
    for name in [name for name in sys.modules if name.split(".")[0] == "lerobot"]:
        del sys.modules[name]


def checkpoint(
    folder: Path, kind: str, *, image: tuple[int, ...] = (3, 6, 8), state: int = 2, **settings: Any
) -> Path:
    features = {
        CAMERA: {"type": "VISUAL", "shape": image},
        "observation.state": {"type": "STATE", "shape": [state]},
    }
    config = {
        "type": kind,
        "input_features": {**features, **settings.pop("more", {})},
        "output_features": {"action": {"type": "ACTION", "shape": [2]}},
        **settings,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    ranges = {"observation.state": {"min": [-1.0] * state, "max": [1.0] * state}}
    (folder / "policy_preprocessor.json").write_text(json.dumps(ranges))
    return folder


KINDS = {
    "act": {"kind": "act", "n_action_steps": 4},
    "act ensembling": {"kind": "act", "temporal_ensemble_coeff": 0.1},
    "diffusion": {"kind": "diffusion", "n_obs_steps": 2, "n_action_steps": 3, "noise": 0.1},
    "vqbet": {"kind": "vqbet", "n_obs_steps": 5, "noise": 0.1},
}


def moments(episodes: int = EPISODES, steps: int = STEPS) -> list[Observation]:
    rng = np.random.default_rng(0)
    return [
        Observation(
            frames={"side": rng.integers(0, 256, (episodes, 6, 8, 3), np.uint8)},
            pose=rng.uniform(-1, 1, (episodes, 2)).astype(np.float32),
            tasks=("push",) * episodes,
        )
        for _ in range(steps)
    ]


def driven(policy: Any, shown: list[Observation], seeds: list[int]) -> np.ndarray:
    """The actions of every frame, as the harness takes them from a policy."""
    policy.reset(shown[0].tasks, seeds)
    queue = ChunkQueue(policy, replan_every=1, low=-99.0, high=99.0)
    back = policy.spec.history - 1
    taken = []
    for step, now in enumerate(shown):
        past = tuple(shown[max(step - k, 0)] for k in range(back, 0, -1))
        seen = Observation(frames=now.frames, pose=now.pose, tasks=now.tasks, past=past)
        taken.append(queue.next(lambda seen=seen: seen, policy.spec.action_dim))
    return np.stack(taken, 1)


def selected(folder: Path, shown: list[Observation], row: int, seed: int) -> np.ndarray:
    """The actions of every frame, by LeRobot's own loop, of one episode."""
    policy = LeRobotPolicy(source=str(folder))
    raw, before, after = policy._policy, policy._before, policy._after
    raw.reset()
    out = []
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        for moment in shown:
            frames = torch.from_numpy(moment.frames["side"][row : row + 1])
            batch = {
                CAMERA: frames.permute(0, 3, 1, 2).float() / 255,
                "observation.state": torch.from_numpy(moment.pose[row : row + 1]),
                "task": ["push"],
            }
            out.append(after(raw.select_action(before(batch)))[0].numpy())
    return np.stack(out)


@pytest.mark.parametrize("kind", KINDS)
def test_alone_and_in_a_batch_it_acts_as_select_action_does(
    lerobot: None, tmp_path: Path, kind: str
) -> None:
    folder = checkpoint(tmp_path / "model", **KINDS[kind])
    shown, seeds = moments(), [5, 6, 7]
    together = driven(load_policy(f"lerobot:{folder}"), shown, seeds)
    for row, seed in enumerate(seeds):
        expected = selected(folder, shown, row, seed)
        np.testing.assert_allclose(together[row], expected, atol=1e-6)
        alone = [
            Observation(
                frames={"side": one.frames["side"][row : row + 1]},
                pose=one.pose[row : row + 1],
                tasks=one.tasks[:1],
            )
            for one in shown
        ]
        taken = driven(load_policy(f"lerobot:{folder}"), alone, [seed])
        np.testing.assert_allclose(taken[0], expected, atol=1e-6)


def test_history_is_the_frame_before_and_not_the_last_time_it_was_asked(
    lerobot: None, tmp_path: Path
) -> None:
    """By hand: asked at frames 0 and 3, at 3 it sees frames 2 and 3."""
    folder = checkpoint(tmp_path, "diffusion", n_obs_steps=2, n_action_steps=3)
    shown = moments(episodes=1, steps=4)
    taken = driven(load_policy(f"lerobot:{folder}"), shown, [0])
    seen = [one.pose.sum() + one.frames["side"].mean() / 255 for one in shown]
    assert taken[0, 0, 0] == pytest.approx(2 * (seen[0] + 0.5 * seen[0]), abs=1e-5)
    assert taken[0, 3, 0] == pytest.approx(2 * (seen[3] + 0.5 * seen[2]), abs=1e-5)


def test_relative_actions_are_added_to_the_state_at_which_they_were_predicted(
    lerobot: None, tmp_path: Path
) -> None:
    """A chunk of four is predicted at frame 0, and meant from there; the fifth is from frame 4."""
    plain = checkpoint(tmp_path / "a", "act", n_action_steps=4)
    relative = checkpoint(tmp_path / "b", "act", n_action_steps=4, relative=True)
    shown = moments(episodes=2, steps=6)
    moved = driven(load_policy(f"lerobot:{relative}"), shown, [0, 1])
    moved = moved - driven(load_policy(f"lerobot:{plain}"), shown, [0, 1])
    for step in range(6):
        np.testing.assert_allclose(moved[:, step], shown[step // 4 * 4].pose, atol=1e-5)


def test_its_spec_says_how_it_is_run(lerobot: None, tmp_path: Path) -> None:
    run = tmp_path / "outputs" / "act" / "checkpoints" / "010000"
    folder = checkpoint(run / "pretrained_model", "act", n_action_steps=4)
    spec = load_policy(f"lerobot:{run}").spec
    assert (spec.name, spec.lineage, spec.step) == ("act/010000", "act", 10_000)
    assert (spec.chunk, spec.replan, spec.history, spec.views) == (4, 4, 1, ("side",))
    assert spec.replan_said_by == "n_action_steps of its checkpoint"
    ensembling = checkpoint(tmp_path / "e", "act", temporal_ensemble_coeff=0.01)
    assert load_policy(f"lerobot:{ensembling}").spec.replan == 1
    assert load_policy(f"lerobot:{checkpoint(tmp_path / 'v', 'vqbet')}").spec.chunk == 5
    other = load_policy(f"lerobot:{folder}?n_action_steps=8&name=x&lineage=y&step=3").spec
    assert (other.name, other.lineage, other.step, other.replan) == ("x", "y", 3, 8)
    with pytest.raises(UserError, match="cannot execute 9 actions of a chunk of 8"):
        load_policy(f"lerobot:{folder}?n_action_steps=9")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"image": (3, 12, 16)}, "trained on images of 12 x 16 .* are 6 x 8.*size=12x16"),
        ({"state": 5}, "reads 5 values of proprioception, but the world gives 2"),
        ({"image": (1, 6, 8)}, "a world's images are 3 x height x width"),
    ],
)
def test_inputs_of_another_shape_are_refused(
    lerobot: None, tmp_path: Path, settings: dict, said: str
) -> None:
    policy = load_policy(f"lerobot:{checkpoint(tmp_path, 'act', **settings)}")
    with pytest.raises(UserError, match=said):
        driven(policy, moments(steps=1), [0, 1, 2])


def test_pictures_are_resized_where_that_is_asked_for(lerobot: None, tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, "act", image=(3, 12, 16))
    grey = [
        Observation(
            frames={"side": np.full((1, 6, 8, 3), 51, np.uint8)},
            pose=np.zeros((1, 2), np.float32),
            tasks=("push",),
        )
    ]
    taken = driven(load_policy(f"lerobot:{folder}?size=12x16"), grey, [0])
    assert taken[0, 0, 0] == pytest.approx(0.4, abs=1e-6)  # twice a fifth
    own = checkpoint(tmp_path / "own", "act", image=(3, 12, 16), resize_shape=(4, 4))
    driven(load_policy(f"lerobot:{own}"), grey, [0])  # by its own rule


def test_proprioception_in_other_units_is_refused(lerobot: None, tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, "act")
    far = [
        Observation(
            frames={"side": np.zeros((1, 6, 8, 3), np.uint8)},
            pose=np.array([[0.5, 300]], np.float32),
            tasks=("push",),
        )
    ]
    with pytest.raises(UserError, match=r"Value 1 .* between -1 and 1 .* the world gives 300"):
        driven(load_policy(f"lerobot:{folder}"), far, [0])
    driven(load_policy(f"lerobot:{folder}?check_ranges=false"), far, [0])


def test_what_no_world_shows_is_refused_at_once(lerobot: None, tmp_path: Path) -> None:
    more = {"observation.environment_state": {"type": "ENV", "shape": [4]}}
    folder = checkpoint(tmp_path / "a", "act", more=more)
    with pytest.raises(
        UserError, match=r"needs the input 'observation.environment_state', which a world"
    ):
        load_policy(f"lerobot:{folder}")
    with pytest.raises(UserError, match="has no camera 'top'"):
        load_policy(f"lerobot:{checkpoint(tmp_path / 'b', 'act')}?views=top=side")
    old = checkpoint(tmp_path / "c", "act")
    (old / "policy_preprocessor.json").unlink()
    with pytest.raises(UserError, match=r"written by a LeRobot version before 0.4. Convert it"):
        load_policy(f"lerobot:{old}")
    broken = checkpoint(tmp_path / "d", "act", unknown_field=1)
    with pytest.raises(UserError, match="cannot be read by LeRobot") as caught:
        load_policy(f"lerobot:{broken}")
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="there is no such folder"):
        load_policy(f"lerobot:{tmp_path}/none")


def test_ten_checkpoints_by_one_glob(tmp_path: Path) -> None:
    for day in ("monday", "tuesday"):
        for step in (2000, 10_000):
            run = tmp_path / day / "act" / "checkpoints"
            checkpoint(run / f"{step:06d}" / "pretrained_model", "act")
            state = run / f"{step:06d}" / "training_state"
            state.mkdir()
            (state / "training_step.json").write_text(json.dumps({"step": step}))
        (run / "last").symlink_to("010000")
    one = tmp_path / "monday" / "act" / "checkpoints"
    expected = [f"lerobot:{one}/{step}/pretrained_model" for step in ("002000", "010000")]
    for pattern in (f"{one}/*", str(one.parent), str(one), f"{one}/*/pretrained_model"):
        assert expand([f"lerobot:{pattern}"]) == expected
    assert expand([f"lerobot:{one}/*?views=a=b"]) == [f"{ref}?views=a=b" for ref in expected]
    assert expand([f"lerobot:{one}/last"]) == [f"lerobot:{one}/last/pretrained_model"]
    both = expand([f"lerobot:{tmp_path}/*/act/checkpoints/*"])
    assert [ref.partition("?")[2] for ref in both] == [
        f"name={day}/act/{step}&lineage={day}/act"
        for day in ("monday", "tuesday")
        for step in ("002000", "010000")
    ]
    with pytest.raises(UserError, match="names 2 policies; name= needs exactly one"):
        expand([f"lerobot:{one}/*?name=x"])
    with pytest.raises(UserError, match="No LeRobot checkpoint matches"):
        expand([f"lerobot:{tmp_path}/none/*"])
