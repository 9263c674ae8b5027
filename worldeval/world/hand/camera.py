"""Project points into fixed cameras: one 3 x 4 matrix for each known task and view."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from worldeval.axes import Float
from worldeval.world.recipe import CameraRecipe


def projection(camera: CameraRecipe, *, aspect: float) -> Float[Tensor, "3 4"]:
    """The matrix P of a pinhole camera: P (x, 1) = (a, b, depth). a / depth and b / depth run from
    -1 to 1 across the image, rightwards and downwards. `aspect` is width over height."""
    azimuth, elevation = torch.deg2rad(torch.tensor([camera.azimuth, camera.elevation])).double()
    flat = elevation.cos()
    forward = torch.stack([flat * azimuth.cos(), flat * azimuth.sin(), elevation.sin()])
    right = torch.stack([azimuth.sin(), -azimuth.cos(), torch.zeros(()).double()])
    up = torch.linalg.cross(right, forward)
    focal = 1 / torch.deg2rad(torch.tensor(camera.fovy / 2)).double().tan()
    rows = torch.stack([right * focal / aspect, -up * focal, forward])
    place = torch.tensor(camera.lookat).double() - camera.distance * forward
    return torch.cat([rows, -(rows @ place)[:, None]], 1).float()


def projections(
    cameras: Mapping[str, Mapping[str, CameraRecipe]],
    *,
    tasks: Sequence[str],
    views: Sequence[str],
    aspect: float,
) -> Float[Tensor, "k v 3 4"]:
    """Stack every task's and view's matrix; unknown cameras are all zeros."""
    out = torch.zeros(len(tasks), len(views), 3, 4)
    for i, task in enumerate(tasks):
        for j, view in enumerate(views):
            camera = cameras.get(task, {}).get(view)
            if camera is not None:
                out[i, j] = projection(camera, aspect=aspect)
    return out


def project(
    matrix: Float[Tensor, "b v 3 4"], point: Float[Tensor, "b 3"]
) -> Float[Tensor, "b v 2"]:
    """Project a point into each view: (right, down), each from -1 to 1 within the image."""
    homogeneous = torch.cat([point, torch.ones_like(point[:, :1])], 1)
    seen = torch.einsum("bvij,bj->bvi", matrix, homogeneous)
    # Unknown cameras give 0 / .01 = 0; a point behind a camera lands far outside the image.
    depth = seen[..., 2:].clamp_min(0.01)
    return seen[..., :2] / depth
