"""Policies in a world of other actions: an arm that goes exactly where it is told."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
from gymnasium.spaces import Box

from worldeval.config import build
from worldeval.data.action_bounds import action_bounds
from worldeval.data.space_text import read_space
from worldeval.errors import UserError
from worldeval.policy.adapters.adapted import AdaptedPolicy
from worldeval.policy.adapters.plain import PlainAdapter
from worldeval.policy.protocol import PolicySpec
from worldeval.record import Observation, Start
from worldeval.rollout.actions import clip, fitted
from worldeval.rollout.controls import Stick, controls_of
from worldeval.rollout.drive import Drive
from worldeval.rollout.loop import imagine
from worldeval.serve.env import WorldVectorEnv
from worldeval.serve.episodes import ServedEpisodes, Setting
from worldeval.world.protocol import WorldSpec
from worldeval.world.recipe import ActuationRecipe

POSE = [0.4, 0.0, 0.3, 0.0, 0.0, 2.0, 1.0]  # metres, roll pitch yaw, gripper
# From a corner of the table to the other, any yaw.
RECORDED = np.array([[0, -0.5, 0, 0, 0, -3, 0], [0.8, 0.5, 0.6, 0, 0, 3, 1]], np.float32)
METRES = WorldSpec(
    views=(),
    size=(4, 4),
    latent=(1, 1, 1),
    action_dim=7,
    pose_dim=7,
    tasks=("go",),
    fps=5.0,
    space="ee-absolute(euler)+1",
)
METRES = replace(METRES, **action_bounds(RECORDED, "ee-absolute(euler)+1"))
JOINTS = replace(
    METRES,
    action_dim=3,
    pose_dim=3,
    space="joint-position(2)+1",
    action_low=(-4.0,),
    action_high=(4.0,),
)


@dataclass
class Arm:
    """A world whose next pose is the action."""

    spec: WorldSpec

    def begin(self, frames, pose, tasks, seeds):
        return pose

    def step(self, state, actions):
        return actions

    def latents(self, state):
        return np.zeros((len(state), 1, 1, 1, 1), np.float32)

    def pose(self, state):
        return state.astype(np.float32)

    def render(self, latents, tasks):
        return {}


@dataclass
class Same:
    """Commands the same at every step, in chunks of two; remembers what it was shown."""

    action: Sequence[float]
    space: str = ""
    fps: float | None = None

    @property
    def spec(self) -> PolicySpec:
        return PolicySpec(
            name="same",
            lineage="same",
            step=0,
            views=(),
            action_dim=len(self.action),
            chunk=2,
            space=self.space,
            fps=self.fps,
        )

    def reset(self, tasks, seeds) -> None: ...

    def act(self, observation: Observation) -> np.ndarray:
        self.shown = observation.pose
        return np.tile(np.array(self.action, np.float32), (len(observation), 2, 1))


def rollout(spec: WorldSpec, policy: Same, *, pose: Sequence[float] = POSE, horizon: int = 3):
    start = Start(id="go-0", task="go", seed=0, frames={}, pose=np.array(pose, np.float32))
    (done,) = imagine(Arm(spec), policy, [start], horizon=horizon, replan_every=2, seeds=[0])
    return done


def test_changes_become_places_in_metres_and_radians() -> None:
    policy = Same([0.1, 0, 0, 0, 0, 0.3, 1], "ee-delta(euler)+1")
    done = rollout(METRES, policy)
    expected = [[x, 0, 0.3, 0, 0, yaw, 1] for x, yaw in ((0.5, 2.3), (0.6, 2.6), (0.7, 2.9))]
    np.testing.assert_allclose(done.actions, expected, atol=1e-5)
    assert done.trust["mended_actions"] == 0  # a yaw of 2.9 is no overshoot


def test_another_form_of_rotation_is_shown_and_understood() -> None:
    quarter = [0, 0, np.sqrt(0.5), np.sqrt(0.5)]
    policy = Same([0.2, 0.1, 0.3, *quarter, 0], "ee-absolute(quaternion)+1")
    done = rollout(METRES, policy, horizon=1)
    np.testing.assert_allclose(done.actions[0], [0.2, 0.1, 0.3, 0, 0, np.pi / 2, 0], atol=1e-5)
    shown = [*POSE[:3], 0, 0, np.sin(1), np.cos(1), 1]
    np.testing.assert_allclose(policy.shown[0], shown, atol=1e-6)


def test_velocities_become_joint_positions_at_the_worlds_rate() -> None:
    policy = Same([1.0, -0.5, 1], "joint-velocity(2)+1")  # rad/s at 5 world frames a second
    done = rollout(JOINTS, policy, pose=[0.5, 2.0, 0])
    expected = [[0.7, 1.9, 1], [0.9, 1.8, 1], [1.1, 1.7, 1]]
    np.testing.assert_allclose(done.actions, expected, atol=1e-5)


def test_what_needs_no_conversion_is_left_as_it_is() -> None:
    for space in ("", METRES.space, "ee-absolute"):
        policy = Same(POSE, space)
        assert fitted(policy, METRES) is policy
    silent = replace(METRES, space="")
    policy = Same(POSE, "ee-delta(euler)+1")
    assert fitted(policy, silent) is policy
    inner, outer = read_space("ee-delta(euler)+1"), read_space(METRES.space)
    by_address = AdaptedPolicy(policy, PlainAdapter(inner, outer, steps=2, fps=10))
    assert fitted(by_address, METRES) is by_address


@pytest.mark.parametrize(
    ("action", "space", "said"),
    [
        (8, "joint-velocity(7)+1", r"joint-velocity\(7\)\+1 \(8 values.*rad/s\), the world takes "
         r"ee-absolute\(euler\)\+1 \(7 values.*m,rad\).*adapter urdf.*\?adapter=FOLDER"),
        (20, "", r"gives 20 values per world frame; the world model takes 7 values, ee-absolute"),
        (6, METRES.space, r"gives 6 values, ee-absolute.*takes 7 values, .*\?adapter=FOLDER"),
        (6, "ee-delta(euler)+1", r"gives 6 values per step, but the adapter takes ee-delta"),
        (8, "ee-delta(euler)+2", r"ee-delta\(euler\)\+2 .* takes ee-absolute.*grippers differ"),
        (8, "joint-position(7,kg)+1", r"Policy same: .*is in kg; joint-position is in rad or deg"),
    ],
)  # fmt: skip
def test_what_cannot_become_the_worlds_is_refused_with_both_sides(
    action: int, space: str, said: str
) -> None:
    with pytest.raises(UserError, match=said):
        fitted(Same([0.0] * action, space), METRES)


def test_a_world_of_several_steps_a_frame_takes_as_many_of_the_policys() -> None:
    """Two controller steps a frame, at 10 steps a second: each is converted on its own."""
    twice = replace(JOINTS, action_dim=6)
    policy = fitted(Same([2.0, -1.0, 1], "joint-velocity(2)+1"), twice)
    assert (policy.spec.action_dim, policy.spec.chunk) == (6, 1)
    policy.reset(("go",), (0,))
    chunk = policy.act(
        Observation(frames={}, pose=np.array([[0.5, 2, 0]], np.float32), tasks=("go",))
    )
    np.testing.assert_allclose(chunk[0, 0], [0.7, 1.9, 1, 0.9, 1.8, 1], atol=1e-6)
    odd = replace(METRES, action_dim=15, action_low=(-4.0,), action_high=(4.0,))
    with pytest.raises(UserError, match=r"15 values per frame, 2.14286 steps of ee-absolute"):
        fitted(Same([0.0] * 7, "ee-delta(euler)+1"), odd)


@pytest.mark.parametrize(
    ("fps", "action", "expected"),
    [
        (10.0, [2.0, 0, 1], [[0.5 + 0.4, 2, 1]]),  # two steps a frame: their mean for 0.2 s
        (2.5, [1.0, 0, 1], [[0.7, 2, 1], [0.9, 2, 1], [1.1, 2, 1], [1.3, 2, 1]]),  # held
        (5.0, [1.0, 0, 1], [[0.7, 2, 1], [0.9, 2, 1]]),
    ],
)
def test_a_policy_of_another_rate_is_resampled(fps: float, action: list[float], expected) -> None:
    policy = fitted(Same(action, "joint-velocity(2)+1", fps), JOINTS)
    policy.reset(("go",), (0,))
    seen = Observation(frames={}, pose=np.array([[0.5, 2, 0]], np.float32), tasks=("go",))
    np.testing.assert_allclose(policy.act(seen), [expected], atol=1e-5)
    assert (policy.spec.chunk, policy.spec.fps) == (len(expected), None)


def test_rates_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UserError, match=r"gives 7 actions per second, .* takes 5\. One must be"):
        fitted(Same(POSE, METRES.space, 7.0), METRES)
    silent = replace(METRES, space="")
    with pytest.raises(UserError, match=r"gives 10 actions .*cannot be resampled: say what"):
        fitted(Same(POSE, "", 10.0), silent)
    same = Same(POSE, "", 5.0)
    assert fitted(same, silent) is same
    twice = replace(silent, action_dim=14, action_low=(-4.0,), action_high=(4.0,))
    assert fitted(Same(POSE, "", 10.0), twice).spec.action_dim == 14


def test_the_worlds_own_range_is_clipped_to_and_counted() -> None:
    done = rollout(METRES, Same([9, -0.54, np.nan, 0, 0, -np.inf, 1]), horizon=1)
    # A tenth of the table beyond what was recorded, and a tenth of a turn.
    expected = [0.88, -0.54, 0, 0, 0, -3.6, 1]
    np.testing.assert_allclose(done.actions[0], expected, atol=1e-5)
    assert done.trust["mended_actions"] == pytest.approx(3 / 7)


def test_what_is_no_number_is_the_nearest_to_nothing() -> None:
    low, high = np.array([-1, 0.2], np.float32), np.array([1, 0.5], np.float32)
    clipped = clip(np.array([[np.nan, np.nan], [1.0005, 0.3]], np.float32), low, high)
    np.testing.assert_allclose(clipped.actions, [[0, 0.2], [1, 0.3]])
    assert clipped.count.tolist() == [2, 0]  # an overshoot by rounding is none


def test_an_environment_has_the_worlds_range() -> None:
    start = Start(id="go-0", task="go", seed=0, frames={}, pose=np.array(POSE, np.float32))
    env = WorldVectorEnv(ServedEpisodes(Setting(world=Arm(METRES), starts=[start], horizon=2)))
    box = env.single_action_space
    assert isinstance(box, Box)
    np.testing.assert_allclose(box.high[[0, 5]], [0.88, 3.6], atol=1e-6)
    env.reset(seed=0)
    seen, *_, info = env.step(np.array([[9, 0, 0, 0, 0, -2.5, 0]], np.float32))
    np.testing.assert_allclose(seen["agent_pos"][0, [0, 5]], [0.88, -2.5], atol=1e-6)
    assert info["mended_actions"].tolist() == [1]


def test_a_stick_goes_as_far_as_the_data() -> None:
    low, high = (-0.02, -0.02, -0.02, 0.0), (0.02, 0.02, 0.02, 1.0)
    delta = replace(
        METRES, action_dim=4, pose_dim=4, space="ee-delta(euler)+1", action_low=low,
        action_high=high,
    )  # fmt: skip
    start = Start(id="go-0", task="go", seed=0, frames={}, pose=np.zeros(4, np.float32))
    drive = Drive(
        Arm(delta), start, controls_of(delta, ActuationRecipe(scale=1, step_dim=4)), seed=0
    )
    drive.steer(Stick(push=(1.0, -0.5)))
    np.testing.assert_allclose(drive.rollout.actions, [[0.02, -0.01, 0, 0]], atol=1e-6)


def test_old_worlds_say_nothing_and_go_from_minus_one_to_one() -> None:
    card = {"views": ["side"], "size": [4, 4], "latent": [1, 4, 4], "action_dim": 20,
            "pose_dim": 4, "tasks": ["go"], "fps": 16}  # fmt: skip
    spec = build(WorldSpec, card, where="world.json")
    assert spec.space == "" and set(spec.low) == {-1} and set(spec.high) == {1}
    with pytest.raises(UserError, match="action_low has 2 values; expected 1 or 20"):
        build(WorldSpec, {**card, "action_low": [-1, -1]}, where="world.json")
    with pytest.raises(UserError, match="is above action_high"):
        build(WorldSpec, {**card, "action_low": [2]}, where="world.json")
