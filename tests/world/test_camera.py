"""Where cameras see a point, with answers by hand; and the shipped cameras are the simulator's."""

import math
from dataclasses import replace

import pytest
import torch

from worldeval.envs.metaworld import scene
from worldeval.errors import UserError
from worldeval.recipe import load
from worldeval.world.body import Body
from worldeval.world.dit.family import new_network
from worldeval.world.dit.recipe import DitRecipe
from worldeval.world.hand.camera import project, projection, projections
from worldeval.world.hand.maps import DrawnHand, HandMaps, hands_of
from worldeval.world.protocol import WorldSpec
from worldeval.world.recipe import CameraRecipe

# Looks along +y at the origin from 2 m away; the picture's edge is at 45 degrees.
AHEAD = CameraRecipe(lookat=(0, 0, 0), distance=2.0, azimuth=90, elevation=0, fovy=90)


@pytest.mark.parametrize(
    ("point", "right", "down"),
    [
        ((0, 0, 0), 0, 0),
        ((1, 0, 0), 0.5, 0),
        ((0, 0, 1), 0, -0.5),
        ((1, 2, -2), 0.25, 0.5),  # twice as far away
        ((2, 0, 0), 1, 0),
    ],
)
def test_a_point_is_where_a_pinhole_shows_it(point, right: float, down: float) -> None:
    seen = project(projection(AHEAD, aspect=1.0)[None, None], torch.tensor([point]).float())
    assert seen.flatten().tolist() == pytest.approx([right, down], abs=1e-6)


def test_a_wide_picture_holds_more_to_the_sides() -> None:
    seen = project(projection(AHEAD, aspect=2.0)[None, None], torch.tensor([[1.0, 0, 0]]))
    assert seen.flatten().tolist() == pytest.approx([0.25, 0], abs=1e-6)


def test_from_straight_above_height_only_magnifies() -> None:
    above = CameraRecipe(lookat=(0, 0, 0), distance=1.0, azimuth=90, elevation=-90, fovy=90)
    matrix = projection(above, aspect=1.0)[None, None]
    low = project(matrix, torch.tensor([[0.1, 0.2, 0.0]])).flatten()
    high = project(matrix, torch.tensor([[0.1, 0.2, 0.5]])).flatten()
    assert low.tolist() == pytest.approx([0.1, -0.2], abs=1e-6)
    torch.testing.assert_close(high, 2 * low)


def test_the_map_peaks_at_the_token_that_shows_the_hand() -> None:
    known = {"left": {"side": AHEAD}}
    matrix = projections(known, tasks=("left", "right"), views=("side", "top"), aspect=1.0)
    maps = HandMaps(matrix, grid=(4, 4))
    pose = torch.tensor([[0.5, 0.0, 0.5, 0.0], [0.5, 0.0, 0.5, 0.0]])  # at (.25, -.25)
    found = maps(torch.tensor([0, 1]), pose, pose).unflatten(1, (2, 4, 4))
    narrow = found[0, 0, :, :, 1]
    assert narrow.argmax().item() == 1 * 4 + 2
    assert narrow.max().item() == pytest.approx(1.0)
    assert narrow[1, 3].item() == pytest.approx(math.exp(-1 / (2 * 0.75**2)))  # one token away
    assert (found[0, 1] == 0).all()  # a camera that is not known
    assert (found[1] == 0).all()  # a task that is not known


def test_the_map_follows_the_hand_wherever_the_pose_has_it() -> None:
    """Behind the gripper, as poses of other datasets have it."""
    matrix = projections({"t": {"side": AHEAD}}, tasks=("t",), views=("side",), aspect=1.0)
    task, first = torch.tensor([0]), torch.tensor([[0.5, 0.0, 0.5, 0.9]])
    last = torch.tensor([[0.9, 0.5, 0.0, 0.5]])
    expected = HandMaps(matrix, grid=(4, 4))(task, first, first)
    moved = DrawnHand(columns=(1, 2, 3))
    found = HandMaps(matrix, grid=(4, 4), hands=[moved])(task, last, last)
    torch.testing.assert_close(found, expected)


def test_every_hand_of_a_robot_is_drawn_in_its_own_unit() -> None:
    """Two arms: the left one in metres, the right one in millimetres after its joints."""
    spec = WorldSpec(
        views=("side",), size=(8, 8), latent=(2, 4, 4), action_dim=6, pose_dim=10, tasks=("t",),
        fps=8.0, body=Body(place=(0, 1, 2, 7, 8, 9), unit=""),
        pose_space="left: ee-absolute(xyz)+1, torso: joint-position(3)+0, "
        "right: ee-absolute(xyz,mm)+0",
    )  # fmt: skip
    hands = hands_of(spec)
    assert hands == (DrawnHand(columns=(0, 1, 2)), DrawnHand(columns=(7, 8, 9), metres=0.001))
    recipe = DitRecipe(width=16, depth=1, heads=2, cameras={"t": {"side": AHEAD}})
    network = new_network(spec, recipe)
    pose = torch.tensor([[0.5, 0, 0.5, 9, 9, 9, 9, 500, 0, 500]])
    found = network.maps(torch.tensor([0]), pose, pose)[0, :, 1:].unflatten(1, (2, 8))
    torch.testing.assert_close(found[:, 0], found[:, 1])  # both are at the same place
    assert network.hand.in_features == 17
    for silent in ("left: joint-position(9)+1", "left: ee-absolute(xyz,?)+7"):
        assert hands_of(replace(spec, pose_space=silent)) == ()
        with pytest.raises(UserError, match="which columns are positions and their unit"):
            new_network(replace(spec, pose_space=silent), recipe)
    two = replace(spec, pose_dim=2, body=Body(place=(0, 1), unit="px"), pose_space="")
    flat = new_network(two, replace(recipe, cameras={})).maps  # a plane has no third number
    assert (flat(torch.tensor([0]), torch.ones(1, 2), torch.ones(1, 2)) == 0).all()


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (Body(place=(0, 1, 3, 4), unit="rad"), "as 4 numbers in rad"),
        (Body(place=(0, 1), unit=""), "as 2 numbers"),
    ],
)
def test_cameras_cannot_show_a_robot_that_is_not_one_hand(body: Body, says: str) -> None:
    spec = WorldSpec(
        views=("side",), size=(8, 8), latent=(2, 4, 4), action_dim=6, pose_dim=6, tasks=("t",),
        fps=8.0, body=body,
    )  # fmt: skip
    recipe = DitRecipe(width=16, depth=1, heads=2, cameras={"t": {"side": AHEAD}})
    with pytest.raises(UserError, match=says):
        new_network(spec, recipe)
    new_network(spec, replace(recipe, cameras={}))


def test_shipped_cameras_are_those_of_the_simulator() -> None:
    cameras = load("dit-tiny", "model").config.cameras
    assert set(cameras) == set(scene.CAMERAS)
    for task, views in cameras.items():
        for camera in scene.cameras(task):
            given = views[camera.name]
            own = (given.lookat, given.distance, given.azimuth, given.elevation)
            assert own == (camera.lookat, camera.distance, camera.azimuth, camera.elevation)
