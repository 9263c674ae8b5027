"""Conversion between the forms of rotation that datasets use, with scipy.

| name         | numbers | meaning                                                     |
|--------------|---------|-------------------------------------------------------------|
| `euler`      | 3       | roll, pitch, yaw in radians, about fixed x, then y, then z  |
| `quaternion` | 4       | x, y, z, w, of unit length                                  |
| `axis-angle` | 3       | axis times angle in radians                                 |
| `6d`         | 6       | first two columns of the matrix (Zhou et al. 2019, eq. 15)  |

Euler angles, axis-angle and quaternions all jump somewhere; 6-D numbers are continuous, so a roll
near +-pi is trained as these.
"""

from typing import Literal, get_args

import numpy as np
from scipy.spatial.transform import Rotation

from worldeval.axes import Array, Float

RotationForm = Literal["euler", "quaternion", "axis-angle", "6d"]
# The same, and two orders in which other projects store rotations.
StoredForm = Literal["euler", "quaternion", "quaternion-wxyz", "axis-angle", "6d", "6d-rows"]
FORMS: dict[str, RotationForm] = {name: name for name in get_args(RotationForm)}
SIZES: dict[str, int] = {"euler": 3, "quaternion": 4, "axis-angle": 3, "6d": 6}
NAMES: dict[str, tuple[str, ...]] = {
    "euler": ("roll", "pitch", "yaw"),
    "quaternion": ("qx", "qy", "qz", "qw"),
    "axis-angle": ("rx", "ry", "rz"),
    "6d": ("r11", "r21", "r31", "r12", "r22", "r32"),
}


def read_rotation(values: Float[Array, "n r"], form: RotationForm) -> Rotation:
    """Convert numbers to rotations.

    Quaternions and 6-D numbers are normalised and orthogonalised, as a network's output requires.

    Raises:
        ValueError: the width does not match the form, or a quaternion or 6-D vector is zero.
    """
    if values.shape[1] != SIZES[form]:
        raise ValueError(f"a rotation as {form} has {SIZES[form]} values, not {values.shape[1]}")
    values = values.astype(np.float64)
    if form == "euler":
        return Rotation.from_euler("xyz", values)
    if form == "quaternion":
        return Rotation.from_quat(values)
    if form == "axis-angle":
        return Rotation.from_rotvec(values)
    return Rotation.from_matrix(_orthogonal(values[:, :3], values[:, 3:]))


def write_rotation(rotation: Rotation, form: RotationForm) -> Float[Array, "n r"]:
    """Convert rotations to numbers; quaternions have w >= 0."""
    if form == "euler":
        return rotation.as_euler("xyz")
    if form == "quaternion":
        return rotation.as_quat(canonical=True)
    if form == "axis-angle":
        return rotation.as_rotvec()
    matrix = rotation.as_matrix()
    return np.concatenate([matrix[:, :, 0], matrix[:, :, 1]], axis=1)


def read_stored(values: Float[Array, "n r"], form: StoredForm) -> Rotation:
    """Convert numbers in any stored form (angles in radians) to rotations."""
    if form == "quaternion-wxyz":
        return read_rotation(values[:, [1, 2, 3, 0]], "quaternion")
    if form == "6d-rows":  # its first two rows are the first two columns of the inverse
        return read_rotation(values, "6d").inv()
    return read_rotation(values, FORMS[form])


def write_stored(rotation: Rotation, form: StoredForm) -> Float[Array, "n r"]:
    """Convert rotations to numbers in any stored form, with angles in radians."""
    if form == "quaternion-wxyz":
        return write_rotation(rotation, "quaternion")[:, [3, 0, 1, 2]]
    if form == "6d-rows":
        return write_rotation(rotation.inv(), "6d")
    return write_rotation(rotation, FORMS[form])


def stored_size(form: StoredForm) -> int:
    """Numbers of a rotation in any stored form."""
    return SIZES[form.removesuffix("-wxyz").removesuffix("-rows")]


def unwrapped(angles: Float[Array, "t r"]) -> Float[Array, "t r"]:
    """Remove jumps of a full turn from one episode's angles, which may then leave [-pi, pi]."""
    return np.unwrap(angles, axis=0)


def _orthogonal(first: Float[Array, "n 3"], second: Float[Array, "n 3"]) -> Float[Array, "n 3 3"]:
    """Orthogonalise two vectors to a rotation by Gram-Schmidt."""
    x = first / _length(first)
    y = second - (x * second).sum(axis=1, keepdims=True) * x
    y = y / _length(y)
    return np.stack([x, y, np.cross(x, y)], axis=2)


def _length(vectors: Float[Array, "n 3"]) -> Float[Array, "n 1"]:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    if (length < 1e-9).any():
        raise ValueError("a 6-D rotation needs two vectors that are neither zero nor parallel")
    return length
