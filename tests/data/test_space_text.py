"""Action spaces as texts: of one part as ever, of several parts, and back."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldeval.data.action_space import ActionSpace
from worldeval.data.part import ANGLES, CONTROLS, KINDS, LENGTHS, PLANE, Part
from worldeval.data.space_text import ROTATIONS, read_space, with_units, write_space
from worldeval.errors import UserError

TWO_ARMS = "left arm: joint-position(6)+1, right arm: joint-position(6,deg)+1, base: velocity(3)"


@st.composite
def said_parts(draw: st.DrawFn, name: str) -> dict[str, Any]:
    control = draw(st.sampled_from(CONTROLS))
    family = KINDS[control][0]
    said: dict[str, Any] = {"control": control, "name": name, "gripper": draw(st.integers(0, 2))}
    if family == "end-effector":
        turns = ("xyz", "axis-angle") if control == "ee-velocity" else ROTATIONS
        said["rotation"] = draw(st.sampled_from(turns))
    elif family == "gripper":
        said["gripper"] = draw(st.integers(1, 3))
    else:
        said["columns"] = draw(st.integers(2, 3) if family in PLANE else st.integers(1, 9))
    if said["gripper"] and draw(st.booleans()):
        said["ends"] = draw(st.sampled_from([(0.0, 1.0), (1.0, -1.0), (0.04, 0.0)]))
    if family not in ("gripper", "numbers"):
        said["unit"] = draw(st.sampled_from(LENGTHS))
        said["angle"] = draw(st.sampled_from(ANGLES))
    return said


@st.composite
def said_spaces(draw: st.DrawFn) -> list[dict[str, Any]]:
    names = draw(st.lists(st.sampled_from(["left arm", "right", "base 2", ""]), unique=True,
                          min_size=1))  # fmt: skip
    return [draw(said_parts(name)) for name in names]


@given(said_spaces())
def test_every_space_is_written_and_read(said: list[dict[str, Any]]) -> None:
    space = ActionSpace(parts=tuple(Part(**each) for each in said))
    assert read_space(write_space(space)) == space
    assert len(space.names) == space.size == len(space.targets)
    assert write_space(space) in with_units(space) or len(space.parts) > 1


@pytest.mark.parametrize(
    "text", ["ee-absolute(6d)+1", "ee-delta(euler)+0", "joint-velocity(6)+2", TWO_ARMS,
             "numbers(3)",
             "planar-position(2,px)", "gripper(2)[0:1]", "ee-delta(axis-angle,?,?)+1[1:-1]"],
)  # fmt: skip
def test_texts_stay_as_they_are(text: str) -> None:
    assert write_space(read_space(text)) == text


@pytest.mark.parametrize(
    ("short", "whole"),
    [
        ("joint-position", "joint-position(7)+1"),
        ("ee-absolute", "ee-absolute(euler)+1"),
        ("ee-absolute(euler,m,rad)+1", "ee-absolute(euler)+1"),
        ("joint-velocity(2,rad/s)", "joint-velocity(2)+1"),
        ("a:joint-position(6)+1,b:velocity(3)", "a: joint-position(6)+1, b: velocity(3)"),
    ],
)
def test_what_is_not_said_is_as_in_old_cards(short: str, whole: str) -> None:
    assert read_space(short) == read_space(whole)
    assert write_space(read_space(short)) == whole


def test_a_description_has_columns_and_units() -> None:
    assert with_units(read_space("joint-velocity(1)+1")) == (
        "joint-velocity(1)+1 (2 values: joint_0, gripper; rad/s)"
    )
    assert with_units(read_space("b: velocity(3), g: gripper(1)")) == (
        "b: velocity(3) (3 values: x, y, angle; m/s,rad/s), g: gripper(1) (1 values: gripper)"
    )
    assert read_space(TWO_ARMS).names[6:8] == ("left arm gripper", "right arm joint_0")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("7 joints", "not a valid action space"),
        ("", "not a valid action space"),
        ("joint-speed(2)+1", "Unknown control 'joint-speed'"),
        ("ee-absolute(eular)", "Unknown form of rotation 'eular'. Did you mean 'euler'"),
        ("joint-position(7,kg)+1", "is in kg; joint-position is in rad or deg"),
        ("velocity(3,m)", "is in m; velocity is in m/s"),
        ("velocity", "needs a number of columns"),
        ("velocity(4)", r"2 columns \(x, y\) or 3"),
        ("ee-velocity(euler)", "a turn per second is an axis-angle"),
        ("a: velocity(3), a: numbers(2)", "several parts are called 'a'"),
        ("joint-position(6)+1[1:1]", "must differ"),
        ("joint-position(999999999)+1", "too many"),
    ],
)
def test_what_is_no_space_is_refused(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        read_space(text)
