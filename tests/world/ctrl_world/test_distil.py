"""Consistency distillation: one step of the student ends where many of the teacher do."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.world.ctrl_world.tiny import TINY, a_denoiser, some_episodes
from worldeval.world.ctrl_world.denoiser import VideoDenoiser
from worldeval.world.ctrl_world.distil import consistency_loss, distil
from worldeval.world.ctrl_world.draw import draw
from worldeval.world.ctrl_world.edm import consistent, sampling_sigmas
from worldeval.world.ctrl_world.recipe import DistilRecipe, EdmRecipe
from worldeval.world.training.windows import Windows, steps

LEVELS = 6
RECIPE = replace(
    TINY,
    edm=EdmRecipe(sigma_max=5.0, steps=1, guidance=(1.0, 2.0)),
    distil=DistilRecipe(levels=LEVELS, steps=90, learning_rate=4e-3),
    trainer=replace(TINY.trainer, batch=8, ema=0.5),
)
PLAIN = replace(RECIPE, distil=DistilRecipe())


def imagined(denoiser: VideoDenoiser, count: int) -> Tensor:
    """Frames sampled in `count` steps, always from the same noise."""
    clip = Windows(some_episodes()).cut(torch.tensor([2, 8]), steps(2, 2))
    noise = [torch.Generator().manual_seed(seed) for seed in (1, 2)]
    words = denoiser.text[:2]
    return denoiser.imagine(clip.latents[:, :3], clip.pose, words, generators=noise, steps=count)


def test_one_step_of_the_student_ends_where_the_teachers_sampler_does() -> None:
    teacher = a_denoiser(RECIPE)
    plain = a_denoiser(PLAIN)
    data = some_episodes()
    student = distil(teacher, Windows(data), np.array([0, 1]), seed=0).model
    aim = imagined(plain, LEVELS)
    before = (imagined(plain, 1) - aim).square().mean()
    after = (imagined(student, 1) - aim).square().mean()
    assert after < 0.6 * before
    for one, two in zip(teacher.parameters(), plain.parameters(), strict=True):
        assert torch.equal(one, two)  # the teacher is not changed


def test_a_student_that_predicts_as_the_teachers_step_ends_has_no_loss() -> None:
    """At the lowest level, the aim is where the teacher's last step ends: its own prediction."""
    student, teacher = (
        a_denoiser(RECIPE),
        a_denoiser(replace(PLAIN, edm=EdmRecipe(sigma_max=5.0, steps=1, guidance=(1.0, 1.0)))),
    )
    clip = Windows(some_episodes()).cut(torch.tensor([2, 8]), steps(2, 2))
    drawn = draw(
        2, RECIPE, frame=student.frame, future=2, generator=torch.Generator().manual_seed(0)
    )
    last = torch.full((2,), LEVELS - 1)
    nothing = consistency_loss(student, teacher, clip, drawn, last).detach()
    assert float(nothing) == pytest.approx(0, abs=1e-6)
    first = torch.zeros(2, dtype=torch.int64)
    loss = consistency_loss(student, teacher, clip, drawn, first)
    loss.backward()
    assert float(loss.detach()) > 1e-5
    assert all(each.grad is None for each in teacher.parameters())


def test_steps_noise_again_at_levels_that_are_evenly_spread() -> None:
    """A perfect network of one point predicts it from every level, whatever the noise."""
    asked: list[float] = []
    point = torch.full((2, 1, 1, 1, 1), 3.0)

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        asked.append(float(sigma[0]))
        noise = (x - (point if len(asked) > 1 else 0)) / sigma.view(-1, 1, 1, 1, 1)
        torch.testing.assert_close(noise, torch.ones_like(noise))
        return point

    found = consistent(
        denoise, lambda: torch.ones(2, 1, 1, 1, 1), RECIPE.edm, steps=3, levels=LEVELS
    )
    assert torch.equal(found, point)
    sigmas = sampling_sigmas(RECIPE.edm, LEVELS)
    assert asked == [float(sigmas[level]) for level in (0, 2, 4)]


def test_a_distilled_world_takes_as_many_steps_as_it_has_levels() -> None:
    assert RECIPE.sampler == range(1, LEVELS + 1) and PLAIN.sampler == range(1, 51)
    with pytest.raises(ValueError, match=r"edm\.steps: 7 is outside 1-6"):
        replace(RECIPE, edm=replace(RECIPE.edm, steps=7))
    with pytest.raises(ValueError, match="levels must be 0 or at least 2"):
        DistilRecipe(levels=1)
