"""EDM's coefficients by hand, and the sampler beside diffusers' own scheduler."""

import math

import pytest
import torch

from worldeval.world.ctrl_world.edm import Scales, sample, sampling_sigmas, training_sigmas
from worldeval.world.ctrl_world.recipe import EdmRecipe
from worldeval.world.diffusers_import import need_diffusers


def test_the_coefficients_are_those_computed_by_hand() -> None:
    # sigma 2: c_skip 1/5, c_out -2/sqrt(5), c_in 1/sqrt(5), c_noise ln(2)/4, weight 5/4.
    scales = Scales.at(torch.tensor([1.0, 2.0]))
    assert scales.skip.flatten().tolist() == pytest.approx([0.5, 0.2])
    assert scales.out.flatten().tolist() == pytest.approx([-(0.5**0.5), -2 / 5**0.5])
    assert scales.into.flatten().tolist() == pytest.approx([0.5**0.5, 1 / 5**0.5])
    assert scales.noise.tolist() == pytest.approx([0.0, math.log(2) / 4])
    assert scales.weight.flatten().tolist() == pytest.approx([2.0, 1.25])


def test_the_weighted_loss_is_that_of_the_raw_output() -> None:
    """weight * c_out^2 = 1: the network's own error counts alike at every noise level."""
    scales = Scales.at(torch.tensor([0.01, 0.7, 3.0, 700.0]))
    ones = scales.weight * scales.out.square()
    torch.testing.assert_close(ones, torch.ones_like(ones))


def test_training_levels_have_the_mean_and_spread_of_the_paper() -> None:
    drawn = training_sigmas(20_000, EdmRecipe(), torch.Generator().manual_seed(0)).log()
    assert float(drawn.mean()) == pytest.approx(0.7, abs=0.04)
    assert float(drawn.std()) == pytest.approx(1.6, abs=0.03)


def test_sampling_levels_by_hand() -> None:
    # The seventh roots are evenly spaced, from that of the highest level to that of 0.002.
    half = (0.5 * 9 ** (1 / 7) + 0.5 * 0.002 ** (1 / 7)) ** 7
    found = sampling_sigmas(EdmRecipe(sigma_max=9.0), 3).tolist()
    assert found == pytest.approx([9, half, 0.002, 0])
    assert sampling_sigmas(EdmRecipe(), 1).tolist() == [700, 0]


@pytest.mark.parametrize("steps", [1, 3, 50])
def test_a_known_picture_is_reached_in_any_number_of_steps(steps: int) -> None:
    clean = torch.randn(2, 3, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))
    found = sample(lambda x, sigma: clean, noise, EdmRecipe(), steps=steps)
    torch.testing.assert_close(found, clean, atol=1e-3, rtol=0)


def test_one_step_is_the_mean_of_what_may_happen() -> None:
    noise = torch.randn(1, 2, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    recipe = EdmRecipe(sigma_max=5.0)
    found = sample(lambda x, sigma: 0.1 * x + sigma.view(-1, 1, 1, 1, 1), noise, recipe, steps=1)
    torch.testing.assert_close(found, 0.1 * 5 * noise + 5)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # theirs
def test_the_sampler_is_stable_video_diffusions() -> None:
    """The same raw network output, step by step, through diffusers' scheduler with SVD's config."""
    schedulers = need_diffusers("this test")
    scheduler = schedulers.EulerDiscreteScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        interpolation_type="linear",
        num_train_timesteps=1000,
        prediction_type="v_prediction",
        sigma_max=700.0,
        sigma_min=0.002,
        steps_offset=1,
        timestep_spacing="leading",
        timestep_type="continuous",
        use_karras_sigmas=True,
    )
    scheduler.set_timesteps(6)

    def raw(x: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Any function of what the network is given."""
        return torch.sin(3 * x) + noise.view(-1, 1, 1, 1, 1)

    def denoise(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        scales = Scales.at(sigma)
        return scales.out * raw(scales.into * x, scales.noise) + scales.skip * x

    noise = torch.randn(1, 2, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    found = sample(denoise, noise, EdmRecipe(), steps=6)
    x = noise * scheduler.sigmas[0]
    for time in scheduler.timesteps:
        given = scheduler.scale_model_input(x, time)
        x = scheduler.step(raw(given, time.reshape(1)), time, x).prev_sample
    torch.testing.assert_close(found, x, atol=1e-3, rtol=1e-3)
