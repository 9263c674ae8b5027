"""Conversion part by part: exact there and back, equal parts untouched, the rest refused."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from worldeval.data.space_conversion import into
from worldeval.data.space_text import read_space
from worldeval.errors import UserError

RNG = np.random.default_rng(0)
FORMS = ("euler", "quaternion", "quaternion-wxyz", "axis-angle", "6d", "6d-rows")


def poses(count: int = 20) -> np.ndarray:
    angles = Rotation.random(count, rng=np.random.default_rng(1)).as_euler("xyz")
    rng = np.random.default_rng(2)
    return np.concatenate([rng.normal(size=(count, 3)), angles, rng.random((count, 1))], 1)


def test_two_arms_of_which_one_is_converted() -> None:
    """The left arm moves by changes and the world takes poses; the right arm's joints are equal."""
    policy = read_space("left: ee-delta(euler)+1, right: joint-position(6)+1, base: velocity(3)")
    world = read_space("base: velocity(3), right: joint-position(6)+1, left: ee-absolute(6d)+1")
    here, there = poses(), np.roll(poses(), 3, axis=0)
    still, arm = read_space("ee-absolute(euler)+1"), read_space("ee-delta(euler)+1")
    right, base = RNG.normal(size=(20, 7)), RNG.normal(size=(20, 3))
    left = into(still, arm, there, pose=here)
    pose = np.concatenate([here, right, base], 1)
    found = into(policy, world, np.concatenate([left, right, base], 1), pose=pose)
    np.testing.assert_array_equal(
        found[:, :10], np.concatenate([base, right], 1).astype(np.float32)
    )
    expected = into(still, read_space("ee-absolute(6d)+1"), there)
    np.testing.assert_allclose(found[:, 10:], expected, atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("control", ["ee-delta", "tool-delta"])
def test_relative_motion_there_and_back(control: str, form: str) -> None:
    still, other = read_space("ee-absolute(euler)+1"), read_space(f"{control}({form},mm,deg)+1")
    here, there = poses(), np.roll(poses(), 3, axis=0)
    own_here = into(still, other.still(), here)
    moved = into(still, other, there, pose=here)
    back = into(other, still, moved, pose=own_here)
    np.testing.assert_allclose(back[:, :3], there[:, :3], atol=1e-5)
    turns = [Rotation.from_euler("xyz", each[:, 3:6]) for each in (back, there)]
    assert (turns[0] * turns[1].inv()).magnitude().max() < 1e-4
    np.testing.assert_allclose(back[:, 6], there[:, 6], atol=1e-6)


def test_a_step_of_the_tool_is_along_its_own_axes() -> None:
    here = np.array([[1.0, 0, 0, 0, 0, np.pi / 2, 0]])  # its x points along the base's y
    step = np.array([[0.1, 0, 0, 0, 0, 0.2, 1]])
    tool, world = read_space("tool-delta(euler)+1"), read_space("ee-absolute(euler)+1")
    found = into(tool, world, step, pose=here)
    np.testing.assert_allclose(found, [[1, 0.1, 0, 0, 0, np.pi / 2 + 0.2, 1]], atol=1e-6)


@pytest.mark.parametrize(
    ("own", "target", "given", "expected", "pose"),
    [
        ("joint-position(2,deg)+0", "joint-position(2)+0", [180, -90], [np.pi, -np.pi / 2], None),
        ("joint-delta(2)+0", "joint-position(2)+0", [0.1, -0.2], [1.1, 1.8], [1, 2]),
        ("joint-velocity(1,deg/s)+0", "joint-delta(1)+0", [90], [np.pi / 10], None),
        ("planar-delta(2,px)", "planar-position(2,px)", [3, -4], [103, 96], [100, 100]),
        ("planar-position(3)", "planar-delta(3,cm)", [1, 2, 3.0], [50, 0, 6 - 2 * np.pi],
         [0.5, 2, -3.0]),
        ("velocity(3)", "delta(3,cm)", [0.1, 0, 0.5], [2, 0, 0.1], None),
        ("ee-velocity(axis-angle)+0", "ee-delta(axis-angle)+0", [1, 0, 0, 0, 0, 10],
         [0.2, 0, 0, 0, 0, 2.0], None),
        ("ee-delta(axis-angle)+0", "ee-velocity(axis-angle)+0", [0.2, 0, 0, 0, 0, 2.0],
         [1, 0, 0, 0, 0, 10], None),
        ("ee-delta(xyz,mm)+0", "ee-absolute(xyz)+0", [10, 0, 0], [1.01, 0, 0], [1000, 0, 0]),
        ("gripper(1)[1:-1]", "gripper(1)[0:1]", [0], [0.5], None),
        ("joint-position(1)+1[0:0.04]", "joint-position(1)+1[1:-1]", [2, 0.01], [2, 0.5], None),
        ("joint-position(1)+1", "joint-position(1,deg)+1[0:1]", [np.pi, 0.3], [180, 0.3], None),
        ("numbers(2)", "arm: numbers(2)", [7, 8], [7, 8], None),
    ],
)  # fmt: skip
def test_known_conversions(own: str, target: str, given, expected, pose) -> None:
    """At five actions a second."""
    here = None if pose is None else np.array([pose], float)
    found = into(read_space(own), read_space(target), np.array([given], float), pose=here, fps=5)
    np.testing.assert_allclose(found, [expected], atol=1e-5)


@pytest.mark.parametrize(
    ("own", "target", "said"),
    [
        ("ee-absolute", "joint-position(7)+1", "robot's kinematics.*worldeval adapter urdf"),
        ("ee-absolute+1", "ee-absolute+2", r"their grippers differ \(1 and 2 columns\)"),
        ("a: joint-position(6)+1, b: velocity(3)", "a: joint-position(6)+1, b: velocity(2)",
         r"Part 'b': the policy commands velocity\(3\) .* takes velocity\(2\) .*3 and 2 columns"),
        ("a: joint-position(6)+1, b: velocity(3)", "a: joint-position(6)+1, c: velocity(3)",
         "Every part needs one of the same name"),
        ("left: joint-position(6)+1", "right: joint-position(6)+1", "one of the same name"),
        ("joint-position(6)+1", "a: joint-position(6)+1, b: velocity(3)", "of the same name"),
        ("joint-position(2)+0", "joint-position(2,?)+0", r"a unit is not stated \(\?\); state it"),
        ("joint-position(2,?)+0", "joint-delta(2,?)+0", r"a unit is not stated"),
        ("planar-position(2)", "planar-position(2,px)", "m cannot become px"),
        ("ee-delta(xyz)+1", "ee-delta(euler)+1", "one of them has no rotation"),
        ("tool-delta(xyz)+1", "ee-delta(xyz)+1", "directions of the tool are not known"),
        ("velocity(3)", "position(3)", "motions do not add up to positions"),
        ("velocity(3)", "planar-velocity(3)", "motions of a base cannot become positions in a p"),
        ("numbers(2)", "joint-position(2)+0", "numbers of unknown meaning cannot become joints"),
        ("gripper(1)", "gripper(1)[1:-1]", r"only one of them states.*\+1\[0:1\]"),
        ("a: ee-delta(euler)+1, b: numbers(1)", "a: ee-absolute(euler)+1, b: numbers(1)",
         "Part 'a': ee-delta cannot be converted to ee-absolute: it needs the pose"),
        ("joint-velocity(2)+0", "joint-delta(2)+0", "it needs the rate"),
    ],
)  # fmt: skip
def test_what_cannot_be_converted_is_refused_by_part(own: str, target: str, said: str) -> None:
    space = read_space(own)
    with pytest.raises(UserError, match=said):
        into(space, read_space(target), np.zeros((2, space.size)))


def test_wrong_widths_are_refused() -> None:
    space = read_space("ee-absolute")
    with pytest.raises(UserError, match=r"5 columns; ee-absolute\(euler\)\+1 .* has 7"):
        into(space, space, np.zeros((3, 5)))
