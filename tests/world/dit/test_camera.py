"""Where cameras see a point, with answers by hand; and the shipped cameras are the simulator's."""

import math

import pytest
import torch

from worldeval.envs.metaworld import scene
from worldeval.recipe import load
from worldeval.world.dit.camera import project, projection, projections
from worldeval.world.dit.maps import HandMaps
from worldeval.world.dit.recipe import CameraRecipe

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


def test_shipped_cameras_are_those_of_the_simulator() -> None:
    cameras = load("dit-tiny", "model").config.cameras
    assert set(cameras) == set(scene.CAMERAS)
    for task, views in cameras.items():
        for camera in scene.cameras(task):
            given = views[camera.name]
            own = (given.lookat, given.distance, given.azimuth, given.elevation)
            assert own == (camera.lookat, camera.distance, camera.azimuth, camera.elevation)
