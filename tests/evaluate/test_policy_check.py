"""The interface doctor on a toy arm: faults are named, sound policies are left alone."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from tests.support.arm import Arm, ArmData, Expert
from worldeval.data.adapt import ChosenEpisodes
from worldeval.data.columns import ColumnMeanings
from worldeval.errors import UserError
from worldeval.evaluate.policy_check import check_policy
from worldeval.policy.builtin import Random, Zero
from worldeval.policy.protocol import PolicySpec
from worldeval.record import Observation

EULER = Arm(form="euler")
DELTA = Arm(form="quaternion", motion="delta", gripper=(-1.0, 1.0))
VIEWS = ("front", "top")


@pytest.fixture(scope="module")
def euler() -> ArmData:
    return ArmData(EULER, episodes=16, seed=1)


@pytest.fixture(scope="module")
def delta() -> ArmData:
    return ArmData(DELTA, episodes=16, seed=1)


class Changed:
    """A policy whose pictures or actions are changed on the way."""

    def __init__(
        self,
        policy: Expert,
        *,
        picture: Callable[[np.ndarray], np.ndarray] | None = None,
        action: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
    ) -> None:
        self._policy, self._picture, self._action = policy, picture, action
        self.spec = policy.spec

    def reset(self, tasks: Sequence[str], seeds: Sequence[int]) -> None:
        self._policy.reset(tasks, seeds)

    def act(self, observation: Observation) -> np.ndarray:
        def see(moment: Observation) -> Observation:
            assert self._picture is not None
            frames = {view: self._picture(image) for view, image in moment.frames.items()}
            return replace(moment, frames=frames)

        shown = observation.each(see) if self._picture else observation
        chunk = self._policy.act(shown)
        return self._action(chunk, observation.pose) if self._action else chunk


def expert(arm: Arm, chunk: int = 1) -> Expert:
    return Expert(arm, noise=0.005, chunk=chunk)


def flipped(chunk: np.ndarray, _: np.ndarray) -> np.ndarray:
    return np.concatenate([chunk[..., :-1], 1 - chunk[..., -1:]], -1)


def in_degrees(chunk: np.ndarray, _: np.ndarray) -> np.ndarray:
    out = chunk.copy()
    out[..., 3:6] = np.rad2deg(out[..., 3:6])
    return out


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"picture": lambda x: x[..., ::-1]}, ("bgr",)),
        ({"picture": lambda x: x[:, ::-1]}, ("upside-down",)),
        ({"action": flipped}, ("action-gripper-swapped",)),
        ({"action": in_degrees}, ("action-rotations-radians",)),
        (
            {"picture": lambda x: x[..., ::-1], "action": flipped},
            ("bgr", "action-gripper-swapped"),
        ),
    ],
)
def test_what_is_misread_is_named(changes: dict, named: tuple[str, ...], euler: ArmData) -> None:
    made = check_policy(Changed(expert(EULER), **changes), euler)
    assert sorted(made.changes) == sorted(named)
    assert made.misread
    last = made.effects[-1]
    assert last.after < 0.3 * last.before
    assert last.gain.low > 0  # type: ignore[operator]


def test_targets_are_told_from_changes_and_the_error_is_in_the_actions_unit(
    delta: ArmData,
) -> None:
    def targets(chunk: np.ndarray, pose: np.ndarray) -> np.ndarray:
        out = chunk.copy()
        out[..., :3] += pose[:, None, :3]
        return out

    # The position alone is a target; the rotation is a change, as it should be.
    made = check_policy(Changed(expert(DELTA), action=targets), delta)
    assert made.changes == ("actions-absolute-position",)
    placed = ArmData(Arm(form="joint", motion="delta"), episodes=16, seed=2)

    def joints(chunk: np.ndarray, pose: np.ndarray) -> np.ndarray:
        out = chunk.copy()
        out[..., :5] += pose[:, None, :5]
        return out

    made = check_policy(Changed(expert(placed.arm), action=joints), placed)
    assert made.changes == ("actions-absolute",)
    (error,) = made.columns
    assert (error.columns, error.unit) == ("j1 to j5", "rad")
    assert error.after < 0.05 < error.before


@pytest.mark.parametrize("kind", ["expert", "chunks", "noisy", "zero", "random"])
def test_sound_policies_good_and_bad_are_left_alone(kind: str, euler: ArmData) -> None:
    policy = {
        "expert": lambda: expert(EULER),
        "chunks": lambda: expert(EULER, chunk=4),
        "noisy": lambda: Expert(EULER, noise=0.3),
        "zero": lambda: Zero(action_dim=7, views=VIEWS),
        "random": lambda: Random(action_dim=7, views=VIEWS, step_dim=7),
    }[kind]()
    made = check_policy(policy, euler)
    assert made.changes == ()
    assert made.text == ""
    assert len(made.tried) > 40


def test_what_stands_still_does_not_lag(euler: ArmData) -> None:
    """Its targets are where the robot is: those of the demonstrators a moment ago."""

    class Still:
        spec = PolicySpec(name="still", lineage="still", step=0, views=VIEWS, action_dim=7, chunk=1)

        def reset(self, tasks: Sequence[str], seeds: Sequence[int]) -> None:
            pass

        def act(self, observation: Observation) -> np.ndarray:
            return observation.pose[:, None].copy()

    made = check_policy(Still(), euler)
    assert made.changes == ()


def test_plain_numbers_are_tried_for_less_and_the_reasons_are_given(euler: ArmData) -> None:
    bare = ChosenEpisodes(euler, range(len(euler)))
    bare.spec = replace(euler.spec, meaning=ColumnMeanings())
    made = check_policy(Changed(expert(EULER), picture=lambda x: x[..., ::-1]), bare)
    assert made.changes == ("bgr",)
    reasons = {each.code: each.reason for each in made.untried}
    assert reasons["action-gripper"] == "no column is said to be a gripper"
    assert "absolute-delta" in reasons


def test_changes_that_a_policy_refuses_are_untried(euler: ArmData) -> None:
    class Strict(Changed):
        def act(self, observation: Observation) -> np.ndarray:
            if any(image.dtype != np.uint8 for image in observation.frames.values()):
                raise ValueError("bytes, please")
            return super().act(observation)

    made = check_policy(Strict(expert(EULER)), euler)
    reasons = {each.code: each.reason for each in made.untried}
    assert reasons["divide-255"] == "bytes, please"
    assert not made.misread


def test_without_time_only_changes_of_the_actions_are_tried(euler: ArmData) -> None:
    made = check_policy(Changed(expert(EULER), action=flipped), euler, seconds=0.0)
    assert made.changes == ("action-gripper-swapped",)
    assert {each.code: each.reason for each in made.untried}["bgr"].startswith("there was no time")


def test_the_same_seed_gives_the_same_numbers(euler: ArmData) -> None:
    one, other = (check_policy(expert(EULER), euler, seconds=1e9, seed=3) for _ in range(2))
    assert one.tried == other.tried


def test_too_few_episodes_are_refused(euler: ArmData) -> None:
    with pytest.raises(UserError, match="has 4 usable episodes"):
        check_policy(expert(EULER), ChosenEpisodes(euler, range(4)))


def test_a_policy_that_breaks_on_the_data_is_the_users_to_mend(euler: ArmData) -> None:
    class Broken(Changed):
        def act(self, observation: Observation) -> np.ndarray:
            raise KeyError("wrist")

    with pytest.raises(UserError, match=r"cannot act on observations of arm: 'wrist'"):
        check_policy(Broken(expert(EULER)), euler)
