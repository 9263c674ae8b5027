"""Policies of several parts in worlds of other forms: each part by itself."""

from fractions import Fraction

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from worldeval.data.space_text import read_space
from worldeval.errors import UserError
from worldeval.policy.adapters.plain import PlainAdapter

POLICY = "left: ee-delta(euler)+1, right: joint-velocity(2,deg/s)+1, base: velocity(3)"
WORLD = "left: ee-absolute(6d)+1, right: joint-position(2)+1, base: velocity(3)"
# The dataset's own order, forms and units.
POSE = "base: position(3), right: joint-position(2)+1, left: ee-absolute(quaternion,mm)+1"
YAW = 0.5
LEFT = [400, 0, 300, 0, 0, np.sin(YAW / 2), np.cos(YAW / 2), 1]
SEEN = np.array([[5, 6, 7, 0.1, 0.2, 0, *LEFT]], np.float32)
STEP = [0.1, 0, 0, 0, 0, 0.3, 1, 90, -90, 0.5, 0.1, 0, 0.2]


def adapter(policy: str, world: str, *, pose: str = "", **more) -> PlainAdapter:
    given = {"steps": 1, "fps": 10.0, **more}
    return PlainAdapter(
        read_space(policy), read_space(world), pose=read_space(pose) if pose else None, **given
    )


def test_each_arm_is_converted_by_itself_from_where_the_pose_says_it_is() -> None:
    made = adapter(POLICY, WORLD, pose=POSE)
    made.begin(1)
    shown = made.sense(SEEN)
    # The policy's own forms, in the pose's own order: degrees, roll pitch yaw, metres.
    expected = [5, 6, 7, *np.degrees([0.1, 0.2]), 0, 0.4, 0, 0.3, 0, 0, YAW, 1]
    np.testing.assert_allclose(shown, [expected], atol=1e-5)
    frames = made.turn(np.tile(np.array(STEP, np.float32), (1, 2, 1)))
    for number, frame in enumerate(frames[0], 1):
        turn = Rotation.from_euler("xyz", [0, 0, YAW + 0.3 * number]).as_matrix()
        left = [0.4 + 0.1 * number, 0, 0.3, *turn[:, 0], *turn[:, 1], 1]
        right = [0.1 + number * np.pi / 20, 0.2 - number * np.pi / 20, 0.5]
        np.testing.assert_allclose(frame, [*left, *right, 0.1, 0, 0.2], atol=1e-5)


def test_equal_parts_pass_untouched_even_where_the_pose_is_something_else() -> None:
    world = "right: numbers(3), left: joint-delta(2,deg)+1"
    made = adapter("left: joint-delta(2)+1, right: numbers(3)", world, pose="planar-position(2,px)")
    made.begin(1)
    np.testing.assert_array_equal(made.sense(np.ones((1, 2), np.float32)), [[1, 1]])
    chunk = np.array([[[np.pi, 0, 1, 0.1, 0.2, 0.3]]], np.float32)
    found = made.turn(chunk)[0, 0]
    np.testing.assert_array_equal(found[:3], chunk[0, 0, 3:])
    np.testing.assert_allclose(found[3:], [180, 0, 1], atol=1e-5)


def test_the_pose_of_an_equal_part_is_shown_as_recorded() -> None:
    world = "a: ee-delta(xyz)+0, b: joint-position(1)+0"
    made = adapter("a: ee-delta(xyz)+0, b: joint-position(1,deg)+0", world,
                   pose="a: ee-absolute(xyz,mm)+0, b: joint-position(1)+0")  # fmt: skip
    shown = made.sense(np.array([[1, 2, 3, np.pi]], np.float32))
    np.testing.assert_allclose(shown, [[1, 2, 3, 180]], rtol=1e-5)


def test_a_frame_of_two_steps_takes_the_last_target_the_sum_and_the_mean() -> None:
    policy = "a: joint-position(1)+1, b: delta(2), c: velocity(2), d: gripper(1)"
    made = adapter(policy, policy, steps=2)
    made.begin(1)
    made.sense(np.zeros((1, 7), np.float32))
    steps = [[1, 0, 0.1, 0, 1, 0, 0.2], [2, 1, 0.3, 0, 3, 0, 0.4]]
    found = made.turn(np.array([steps], np.float32))
    np.testing.assert_allclose(found, [[[2, 1, 0.4, 0, 2, 0, 0.4]]], atol=1e-6)


def test_steps_within_a_frame_are_converted_one_by_one() -> None:
    made = adapter("joint-delta(1)+0", "joint-position(1)+0", stacked=2)
    assert (made.width, made.steps) == (2, 2)
    made.sense(np.array([[1.0]], np.float32))
    found = made.turn(np.array([[[0.1], [0.2], [0.3], [0.4]]], np.float32))
    np.testing.assert_allclose(found, [[[1.1, 1.3], [1.6, 2.0]]], atol=1e-6)


@pytest.mark.parametrize(
    ("policy", "world", "pose", "said"),
    [
        ("a: ee-delta+1, b: numbers(2)", "a: ee-absolute+1, b: numbers(2)", "b: numbers(9)",
         r"Part 'a': ee-delta.* only be converted to .*world's pose is b: numbers\(9\).*map"),
        ("a: ee-delta+1, b: numbers(2)", "a: ee-absolute+1, b: numbers(2)",
         "a: ee-absolute(euler,?)+1, b: numbers(2)", r"Part 'a': the world's pose .*not stated"),
        ("a: ee-delta+1, b: velocity(2)", "a: joint-position(6)+1, b: velocity(2)", "",
         r"Part 'a': the policy commands ee-delta.* takes joint-position.*robot's kinematics"),
        ("a: ee-delta+1", "a: ee-delta+1, b: velocity(2)", "",
         r"takes a: ee-delta.*b: velocity\(2\).*one of the same name"),
    ],
)  # fmt: skip
def test_what_does_not_fit_names_the_part(policy: str, world: str, pose: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        adapter(policy, world, pose=pose)


def test_numbers_of_unknown_meaning_have_no_other_rate() -> None:
    with pytest.raises(UserError, match=r"Part 'b': .*another rate, because nothing is known"):
        adapter("a: velocity(2), b: numbers(2)", "a: velocity(2), b: numbers(2)", steps=2)


def test_a_slower_policy_holds_targets_and_divides_changes() -> None:
    policy = "a: joint-position(1)+1, b: delta(2), c: velocity(2), d: ee-delta(euler)+1"
    made = adapter(policy, policy.replace("d: ee-delta(euler)", "d: ee-absolute(euler)"), held=2)
    assert made.steps == Fraction(1, 2)
    made.sense(np.array([[0] * 6 + [1, 2, 3, 0, 0, 0.5, 0]], np.float32))
    found = made.turn(np.array([[[1, 1, 0.1, 0, 1, 0, 0.2, 0, 0, 0, 0, 0.4, 1]]], np.float32))
    frames = [[1, 1, 0.05, 0, 1, 0, 1 + 0.1 * k, 2, 3, 0, 0, 0.5 + 0.2 * k, 1] for k in (1, 2)]
    np.testing.assert_allclose(found, [frames], atol=1e-5)


def test_degrees_are_noticed_in_any_arm() -> None:
    made = adapter("a: joint-position(2)+0, b: joint-position(2)+0",
                   "b: joint-position(2)+0, a: joint-position(2)+0")  # fmt: skip
    made.sense(np.zeros((1, 4), np.float32))
    with pytest.raises(UserError, match=r"up to 90.*in radians.*joint-position\(2,deg\)\+0"):
        made.turn(np.array([[[0, 0, 90, 0]]], np.float32))
