"""Diffusion, against numbers worked out by hand."""

import math

import pytest
import torch

from worldeval.world.uwm.schedule import Schedule, Target


def times(*values: int) -> torch.Tensor:
    return torch.tensor(values)


def test_the_schedule_by_hand() -> None:
    schedule = Schedule(100, "epsilon")
    wanted = math.cos((0.5 + 0.008) / 1.008 * math.pi / 2) / math.cos(0.008 / 1.008 * math.pi / 2)
    assert float(schedule.signal[50]) == pytest.approx(wanted, rel=1e-6)
    assert float(schedule.noise[50]) == pytest.approx(math.sqrt(1 - wanted**2), rel=1e-6)
    assert (schedule.signal.diff() < 0).all()
    torch.testing.assert_close(schedule.signal**2 + schedule.noise**2, torch.ones(101))


def test_time_zero_is_the_data_and_the_last_is_noise_alone() -> None:
    schedule = Schedule(10, "velocity")
    data, noise = torch.full((2, 3), 7.0), torch.randn(2, 3)
    at = schedule.noised(data, noise, times(0, 10))
    assert torch.equal(at[0], data[0])
    assert torch.equal(at[1], noise[1])


@pytest.mark.parametrize("target", ["epsilon", "velocity"])
def test_the_right_answer_gives_the_data_back(target: Target) -> None:
    schedule = Schedule(10, target)
    data, noise = torch.randn(4, 3), torch.randn(4, 3)
    time = times(1, 4, 7, 9)
    x = schedule.noised(data, noise, time)
    found = schedule.data(schedule.aim(data, noise, time), x, time)
    torch.testing.assert_close(found, data, atol=1e-4, rtol=1e-4)


def test_velocity_at_pure_noise_is_the_data_and_epsilon_says_nothing() -> None:
    data, noise, last = torch.randn(1, 3), torch.randn(1, 3), times(10)
    torch.testing.assert_close(Schedule(10, "velocity").aim(data, noise, last), -data)
    assert torch.equal(Schedule(10, "epsilon").aim(data, noise, last), noise)


def test_a_ddim_step_by_hand() -> None:
    """Towards known data, the noise stays the same and only its share changes."""
    schedule = Schedule(10, "velocity")
    data, noise = torch.tensor([[2.0]]), torch.tensor([[-1.0]])
    x = schedule.noised(data, noise, times(8))
    stepped = schedule.ddim(data, x, times(8), times(3))
    by_hand = 2.0 * float(schedule.signal[3]) - float(schedule.noise[3])
    assert float(stepped) == pytest.approx(by_hand, rel=1e-5)
    assert float(schedule.ddim(data, x, times(8), times(0))) == 2.0


def test_the_ladder_runs_from_noise_to_clean() -> None:
    schedule = Schedule(100, "epsilon")
    assert schedule.ladder(1) == [100, 0]
    assert schedule.ladder(4) == [100, 75, 50, 25, 0]
