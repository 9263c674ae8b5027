"""Errors of predicted poses in the units of each part, with answers known on paper."""

import numpy as np
import pytest

from worldeval.cli.part_table import part_table
from worldeval.world.fidelity.part_errors import part_errors
from worldeval.world.protocol import WorldSpec


def spec(pose_space: str, pose_dim: int) -> WorldSpec:
    return WorldSpec(
        views=("top",), size=(8, 8), latent=(1, 1, 1), action_dim=1, pose_dim=pose_dim,
        tasks=("any",), fps=5.0, pose_space=pose_space,
    )  # fmt: skip


def test_every_part_has_its_own_unit() -> None:
    space = "left: ee-absolute(euler)+1, right: joint-position(2,deg)+0, base: position(3,cm)"
    recorded = np.zeros((1, 12))
    recorded[0, 5] = 3.0  # radians of yaw; from here to -3 it is not far
    predicted = recorded.copy()
    predicted[0] = [0.003, 0, 0.004, 0, 0, -3.0, 0.5, 3, -4, 6, 8, np.pi / 2]
    found = part_errors(spec(space, 12), predicted, recorded)
    said = {name: (unit, round(float(values[0]), 3)) for name, (unit, values) in found.items()}
    assert said == {
        "left position": ("mm", 5.0),
        "left rotation": ("deg", round(np.degrees(2 * np.pi - 6), 3)),
        "left gripper": ("", 0.5),
        "right joints": ("deg", 3.536),
        "base position": ("cm", 10.0),
        "base angle": ("deg", 90.0),
    }


@pytest.mark.parametrize(
    ("space", "dim", "expected"),
    [
        ("planar-position(2,px)", 2, {"position": "px"}),
        ("planar-position(2,?)", 2, {"position": ""}),
        ("numbers(2)", 2, {}),  # nothing is known
        ("planar-position(2,px)", 3, {}),  # it does not describe this pose
        ("", 2, {}),
    ],
)
def test_nothing_is_said_of_what_is_not_known(space: str, dim: int, expected: dict) -> None:
    found = part_errors(spec(space, dim), np.ones((2, dim)), np.zeros((2, dim)))
    assert {name: unit for name, (unit, _) in found.items()} == expected


def test_the_table_of_parts() -> None:
    row = {"parts": {"left joints": {"unit": "rad", "error": 0.1}, "g": {"unit": "", "error": 1.0}}}
    table = part_table({"h1": row, "h5": {}}, lambda error: f"{error:g}")
    assert table is not None
    assert [column.header for column in table.columns] == ["horizon", "left joints (rad)", "g"]
    assert list(table.columns[1].cells) == ["0.1", ""]
    assert part_table({"h1": {"parts": {"g": row["parts"]["g"]}}}, str) is None
