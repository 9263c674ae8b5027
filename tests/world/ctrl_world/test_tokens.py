"""Poses as the network reads them, on numbers whose percentiles are known."""

import math

import pytest
import torch

from worldeval.errors import UserError
from worldeval.world.ctrl_world.tokens import PoseScale


def test_percentiles_become_minus_one_and_one_and_outliers_are_clipped() -> None:
    scale = PoseScale(1)
    scale.fit(torch.arange(101.0)[:, None])  # 1st percentile 1, 99th 99
    read = scale(torch.tensor([[[1.0], [50.0], [99.0], [500.0], [-500.0]]]))
    assert read.flatten().tolist() == pytest.approx([-1, 0, 1, 1, -1])


def test_known_statistics_are_taken_as_they_are() -> None:
    scale = PoseScale(2)
    scale.put(torch.tensor([0.0, -1.0]), torch.tensor([4.0, 1.0]))
    assert scale(torch.tensor([[[1.0, 0.5]]])).flatten().tolist() == pytest.approx([-0.5, 0.5])
    with pytest.raises(UserError, match="3 and 3 dimensions do not match poses of 2"):
        scale.put(torch.zeros(3), torch.ones(3))


def test_an_angle_around_pi_does_not_jump() -> None:
    angles = torch.tensor([math.pi - 0.1, -math.pi + 0.1]).repeat(50)[:, None]
    plain, turned = PoseScale(1), PoseScale(1, angles=(0,))
    plain.fit(angles)
    turned.fit(angles)
    either_side = torch.tensor([[[math.pi - 0.01], [-math.pi + 0.01]]])
    assert (plain(either_side)[0, 0] - plain(either_side)[0, 1]).abs() > 1.9
    low, high = turned(either_side).flatten().tolist()
    assert low == pytest.approx(-0.1, abs=1e-3)
    assert high == pytest.approx(0.1, abs=1e-3)


def test_what_does_not_move_says_nothing() -> None:
    scale = PoseScale(1)
    scale.fit(torch.full((20, 1), 3.0))
    assert scale(torch.full((1, 1, 1), 3.0)).item() == 0


def test_an_angle_that_is_no_dimension_is_refused() -> None:
    with pytest.raises(UserError, match="angles"):
        PoseScale(3, angles=(3,))
