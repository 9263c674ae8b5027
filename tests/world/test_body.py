"""The body of any robot, read from what the columns of its data mean."""

import numpy as np
import pytest
import torch

from worldeval.data.columns import ColumnGroup, ColumnMeanings
from worldeval.errors import UserError
from worldeval.world.body import Body, CommandedColumn, body_of, hand_body
from worldeval.world.features import Features, Motion
from worldeval.world.hand.commands import Actuation
from worldeval.world.protocol import WorldSpec
from worldeval.world.recipe import ActuationRecipe

NONE = ActuationRecipe()
METRES = ActuationRecipe(scale=0.01, low=(-0.5, 0.4, 0.05), high=(0.5, 1.0, 0.5))


def group(names: str, means: str, **more: object) -> ColumnGroup:
    return ColumnGroup(names=tuple(names.split()), means=means, **more)  # type: ignore[arg-type]


PUSHER = ColumnMeanings(  # a point in the plane, told where to go, in pixels
    action=(group("x y", "planar", unit="px"),), pose=(group("x y", "planar", unit="px"),)
)
TWO_ARMS = ColumnMeanings(
    action=(
        group("l1 l2", "joint", arm="left", unit="rad"),
        group("lg", "gripper", arm="left"),
        group("r1 r2", "joint", arm="right", unit="deg"),
        group("rg", "gripper", arm="right"),
    ),
    pose=(
        group("l1 l2", "joint", arm="left", unit="rad"),
        group("lg", "gripper", arm="left"),
        group("r1 r2", "joint", arm="right", unit="rad"),
        group("rg", "gripper", arm="right"),
    ),
)
DELTA = ColumnMeanings(
    action=(group("dx dy dz", "position", motion="delta", unit="mm"), group("g", "gripper")),
    pose=(group("g", "gripper"), group("x y z", "position", unit="m")),
)
BASE = ColumnMeanings(
    action=(group("vx vy w", "planar", motion="velocity", unit="m/s"),),
    pose=(group("x y yaw", "planar", unit="m"),),
)


def test_a_point_in_the_plane() -> None:
    body = body_of(PUSHER, NONE, action_dim=2, pose_dim=2)
    assert body.place == (0, 1)
    assert body.unit == "px"
    assert not body.metres
    told = Actuation(NONE, body)
    assert told.step(torch.zeros(1, 2), torch.tensor([[30.0, 40.0]])).tolist() == [[30.0, 40.0]]


def test_two_arms_of_joints_in_other_units() -> None:
    body = body_of(TWO_ARMS, NONE, action_dim=6, pose_dim=6)
    assert body.place == (0, 1, 3, 4)
    assert body.commanded == (0, 1, 3, 4)
    told = Actuation(NONE, body)
    command = told.step(torch.zeros(1, 4), torch.tensor([[1.0, 2.0, 0.0, 180.0, 90.0, 0.0]]))
    assert command[0].tolist() == pytest.approx([1.0, 2.0, 3.14159, 1.5708], abs=1e-3)


def test_millimetres_that_add_up_over_the_steps_of_a_frame() -> None:
    """The place need not come first; two steps of 4 numbers make a frame."""
    body = body_of(DELTA, NONE, action_dim=8, pose_dim=4)
    assert (body.place, body.steps) == ((1, 2, 3), 2)
    told = Actuation(NONE, body)
    here = told.begin(torch.tensor([[0.5, 1.0, 2.0, 3.0]]))
    action = torch.tensor([[100.0, 0.0, 0.0, 1.0, 100.0, -50.0, 0.0, 1.0]])
    assert told.step(here, action)[0].tolist() == pytest.approx([1.2, 1.95, 3.0])


def test_velocities_last_for_a_frame() -> None:
    body = body_of(BASE, NONE, action_dim=3, pose_dim=3)
    told = Actuation(NONE, body, fps=10)
    command = told.step(torch.zeros(1, 2), torch.tensor([[2.0, -1.0, 9.0]]))
    assert command[0].tolist() == pytest.approx([0.2, -0.1])


def test_what_nobody_said_is_not_assumed() -> None:
    guessed = ColumnMeanings(
        action=(group("x y z", "position", guessed=True),),
        pose=(group("x y z", "position", guessed=True),),
    )
    body = body_of(guessed, NONE, action_dim=3, pose_dim=3)
    assert body.place == (0, 1, 2)
    assert body.commands == ()
    assert body.motion == ()
    unknown = body_of(ColumnMeanings(), NONE, action_dim=5, pose_dim=4)
    assert unknown == Body(place=(0, 1, 2, 3), unit="")
    told = Actuation(NONE, unknown)
    assert told.step(told.begin(torch.ones(2, 4)), torch.ones(2, 5)).shape == (2, 0)


def test_units_that_do_not_fit_are_no_command() -> None:
    odd = ColumnMeanings(
        action=(group("x y", "planar", unit=""),), pose=(group("x y", "planar", unit="px"),)
    )
    assert body_of(odd, NONE, action_dim=2, pose_dim=2).commands == ()


def test_the_recipes_hand_is_as_it_was() -> None:
    body = body_of(ColumnMeanings(), METRES, action_dim=20, pose_dim=4)
    assert body == hand_body(METRES, action_dim=20)
    assert body.steps == 5
    told = Actuation(METRES, body)
    action = torch.tensor([[1.0, 0.5, -2.0, 0.0] * 5])
    here = torch.tensor([[0.0, 0.6, 0.07]])
    assert told.step(here, action)[0].tolist() == pytest.approx([0.05, 0.625, 0.05])


@pytest.mark.parametrize(
    ("meaning", "sizes", "says"),
    [
        (PUSHER, (2, 2), "no x, y and z"),
        (ColumnMeanings(), (7, 7), "cannot be divided into steps of 4"),
        (
            ColumnMeanings(action=(group("x y z w", "joint"),)),
            (4, 4),
            "declares absolute actions",
        ),
    ],
)
def test_a_recipe_that_contradicts_the_data_is_refused(
    meaning: ColumnMeanings, sizes: tuple[int, int], says: str
) -> None:
    with pytest.raises(UserError, match=says):
        body_of(meaning, METRES, action_dim=sizes[0], pose_dim=sizes[1])


def test_features_take_any_number_of_columns() -> None:
    features = Features(pose_dim=5, action_dim=3, tasks=2, place=(1, 4), commanded=(4,))
    motion = Motion(
        action=torch.zeros(2, 3),
        past_actions=torch.zeros(2, 2, 3),
        pose=torch.rand(2, 5),
        past_poses=torch.rand(2, 2, 5),
        command=torch.rand(2, 1),
        next_command=torch.rand(2, 1),
        task=torch.zeros(2, dtype=torch.int64),
    )
    assert features(motion).shape == (2, features.size)


def test_a_body_is_kept_with_its_world() -> None:
    from dataclasses import asdict

    from worldeval.config import build

    body = body_of(DELTA, NONE, action_dim=8, pose_dim=4)
    assert build(Body, asdict(body), where="world.json") == body
    assert body.commands[0] == CommandedColumn(pose=1, action=0, motion="delta", factor=0.001)


def test_errors_are_in_the_units_of_the_position() -> None:
    """Metres become millimetres; pixels and radians of two arms stay what they are."""
    shared = {"views": ("top",), "size": (8, 8), "latent": (1, 1, 1), "tasks": ("any",), "fps": 5.0}
    away = np.array([[0.0, 3.0, 0.0, 0.0, 4.0, 0.0]])
    for meaning, dim, name, unit, size in (
        (TWO_ARMS, 6, "place_error", "rad", 5.0),
        (PUSHER, 2, "place_error", "px", 3.0),
        (DELTA, 4, "hand_mm", "mm", 3000.0),
    ):
        actions = sum(map(len, meaning.action))
        body = body_of(meaning, NONE, action_dim=actions, pose_dim=dim)
        spec = WorldSpec(action_dim=actions, pose_dim=dim, body=body, **shared)  # type: ignore[arg-type]
        found, values = spec.place_error(away[:, :dim])
        assert (found, spec.place_unit, values.tolist()) == (name, unit, [size])
