"""Angles inside networks: there and back, beside scipy, and over the jump at pi."""

import numpy as np
import pytest
import torch

from worldeval.data.rotation import read_rotation, write_rotation
from worldeval.world.turned import Turned

TWO = Turned(width=10, first=(1, 6))  # two hands: gripper, angles, x, y, angles, gripper


def some(count: int = 50) -> torch.Tensor:
    rng = np.random.default_rng(0)
    values = rng.uniform(-np.pi, np.pi, (count, 10))
    values[:, [2, 7]] /= 2.01  # pitch is between -pi/2 and pi/2
    return torch.from_numpy(values)


def test_the_six_numbers_are_those_of_the_datasets_conversion() -> None:
    values = some()
    for first, place in ((1, 1), (6, 9)):
        expected = write_rotation(
            read_rotation(values[:, first : first + 3].numpy(), "euler"), "6d"
        )
        found = TWO.forth(values)[:, place : place + 6]
        assert found.numpy() == pytest.approx(expected, abs=1e-12)


def test_there_and_back_changes_nothing() -> None:
    values = some()
    assert TWO.forth(values).shape == (50, TWO.size) == (50, 16)
    torch.testing.assert_close(TWO.back(TWO.forth(values)), values)


def test_a_network_need_not_give_orthogonal_columns() -> None:
    six = TWO.forth(some())
    longer = six.clone()
    longer[:, 1:4] *= 3  # the length of the first column says nothing
    longer[:, 4:7] += 0.5 * longer[:, 1:4]  # nor what the second shares with it
    torch.testing.assert_close(TWO.back(longer), TWO.back(six))


def test_columns_that_are_no_angles_are_found_again() -> None:
    values = torch.arange(10.0)[None]
    plain = [0, 4, 5, 9]
    assert TWO.forth(values)[0, list(TWO.places(plain))].tolist() == plain


def test_a_vector_without_angles_is_left_alone() -> None:
    plain = Turned(width=4)
    values = torch.ones(2, 4)
    assert plain.forth(values) is values and plain.back(values) is values
    assert plain.size == 4 and plain.places([3, 1]) == (3, 1)


def test_a_hair_across_pi_is_a_hair() -> None:
    one = Turned(width=3, first=(0,))
    left, right = (torch.tensor([[side * (np.pi - 1e-3), 0.1, 0.2]]) for side in (1, -1))
    assert (one.forth(left) - one.forth(right)).abs().max() < 3e-3
