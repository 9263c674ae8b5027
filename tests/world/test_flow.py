"""Samplers with known answers: a point, a Gaussian, and noise that belongs to its episode."""

import pytest
import torch

from worldeval.world.flow import along_path, own_noise, sample


@pytest.mark.parametrize("steps", [1, 2, 8])
def test_a_flow_to_one_point_is_straight_and_exact_in_any_number_of_steps(steps: int) -> None:
    noise, point = torch.randn(3, 2, 4), torch.randn(3, 2, 4)
    found = sample(lambda x, s: point, noise, steps=steps)
    torch.testing.assert_close(found, point)


def test_times_run_from_noise_towards_data_in_equal_steps() -> None:
    seen = []

    def denoise(x: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        seen.append(s.tolist())
        return torch.zeros_like(x)

    sample(denoise, torch.ones(2, 1), steps=4)
    assert seen == [[0.0, 0.0], [0.25, 0.25], [0.5, 0.5], [0.75, 0.75]]


def test_many_steps_recover_a_gaussian_from_its_exact_denoiser() -> None:
    mean, std = 3.0, 0.5

    def denoise(x: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        # E[data | x] where x = (1 - s) noise + s data: both are Gaussian.
        s = s[:, None]
        gain = s * std**2 / ((1 - s) ** 2 + s**2 * std**2)
        return mean + gain * (x - s * mean)

    noise = torch.randn(20_000, 1, generator=torch.Generator().manual_seed(0))
    many = sample(denoise, noise, steps=200)
    assert many.mean().item() == pytest.approx(mean, abs=0.02)
    assert many.std().item() == pytest.approx(std, abs=0.02)
    one = sample(denoise, noise, steps=1)
    torch.testing.assert_close(one, torch.full_like(one, mean))  # a single step gives the mean


def test_the_path_is_noise_at_time_0_and_data_at_time_1() -> None:
    noise, data = torch.randn(3, 2, 2), torch.randn(3, 2, 2)
    at = along_path(noise, data, torch.tensor([0.0, 0.5, 1.0]))
    torch.testing.assert_close(at[0], noise[0])
    torch.testing.assert_close(at[1], (noise[1] + data[1]) / 2)
    torch.testing.assert_close(at[2], data[2])


def test_noise_follows_the_seed_and_not_the_place_in_the_batch() -> None:
    def seeded(*seeds: int) -> list[torch.Generator]:
        return [torch.Generator().manual_seed(seed) for seed in seeds]

    like = torch.zeros(3, 4)
    three = own_noise(like, seeded(7, 8, 9))
    assert torch.equal(three[2], own_noise(like[:1], seeded(9))[0])
    assert not torch.equal(three[0], three[1])


def test_without_generators_the_noise_is_the_same_every_time() -> None:
    like = torch.zeros(2, 4)
    assert torch.equal(own_noise(like, None), own_noise(like, None))
