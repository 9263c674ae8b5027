"""The equations of policy optimisation, checked by hand."""

import math

import numpy as np
import pytest
import torch

from worldeval.improve.ppo import (
    RewardScale,
    clip_along,
    clipped,
    denoising_discount,
    divergence,
    gae,
    standardised,
)


def test_advantages_by_hand() -> None:
    reward = torch.tensor([[1.0], [0.0], [2.0]])
    value = torch.tensor([[0.5], [1.0], [1.5]])
    found = gae(reward, value, gamma=0.9, smoothing=0.8)
    # Surprises: 1 + .9 - .5 = 1.4; 0 + 1.35 - 1 = .35; 2 + 0 - 1.5 = .5.
    third = 0.5
    second = 0.35 + 0.72 * third
    first = 1.4 + 0.72 * second
    assert found[:, 0].tolist() == pytest.approx([first, second, third])


def test_with_full_smoothing_an_advantage_is_the_return_less_the_value() -> None:
    generator = torch.Generator().manual_seed(0)
    reward, value = torch.randn(2, 5, 3, generator=generator)
    found = gae(reward, value, gamma=1.0, smoothing=1.0)
    returns = reward.flip(0).cumsum(0).flip(0)
    torch.testing.assert_close(found, returns - value)


def test_the_ratio_is_clipped_only_where_it_would_gain() -> None:
    before = torch.zeros(4)
    now = torch.tensor([0.5, -0.5, 0.5, -0.5])
    advantage = torch.tensor([1.0, 1.0, -1.0, -1.0])
    up, down = math.exp(0.5), math.exp(-0.5)
    # Gains end at 1.2 and .8; losses count in full.
    expected = -(1.2 + down - up - 0.8) / 4
    assert clipped(now, before, advantage, 0.2).item() == pytest.approx(expected)


def test_unmoved_policies_have_the_plain_policy_gradient() -> None:
    logs = torch.tensor([-1.0, -2.0], requires_grad=True)
    clipped(logs, logs.detach(), torch.tensor([3.0, -1.0]), 0.2).backward()
    assert logs.grad is not None
    assert logs.grad.tolist() == pytest.approx([-1.5, 0.5])


def test_the_divergence_of_two_gaussians() -> None:
    before, now = torch.distributions.Normal(0.0, 1.0), torch.distributions.Normal(0.3, 1.0)
    torch.manual_seed(0)
    drawn = before.sample((200_000,))
    assert divergence(now.log_prob(drawn), before.log_prob(drawn)) == pytest.approx(0.045, abs=2e-3)
    assert divergence(drawn, drawn) == 0


def test_the_last_denoising_step_counts_fully() -> None:
    assert denoising_discount(3, 0.9).tolist() == pytest.approx([0.81, 0.9, 1.0])


def test_equal_advantages_stay_as_they_are() -> None:
    assert standardised(torch.full((4,), 2.0)).tolist() == [2, 2, 2, 2]
    spread = standardised(torch.tensor([1.0, 2.0, 3.0]))
    assert spread.tolist() == pytest.approx([-1, 0, 1])


def test_clips_grow_along_the_chain() -> None:
    found = clip_along(3, first=0.001, last=0.01)
    middle = 0.001 + 0.009 * (math.exp(1.5) - 1) / (math.exp(3) - 1)
    assert found.tolist() == pytest.approx([0.001, middle, 0.01])
    assert clip_along(1, first=0.001, last=0.01).tolist() == pytest.approx([0.01])
    assert clip_along(4, first=0.2, last=0.2).tolist() == pytest.approx([0.2] * 4)


def test_every_decision_has_its_own_clip() -> None:
    """A ratio of 1.1 still pays at the second decision, and is clipped at the first one."""
    now = torch.full((1, 2), math.log(1.1), requires_grad=True)
    clipped(now, torch.zeros(1, 2), torch.ones(1, 2), torch.tensor([0.05, 0.2])).backward()
    assert now.grad is not None
    assert now.grad[0].tolist() == pytest.approx([0, -1.1 / 2])


def test_rewards_are_divided_by_the_deviation_of_returns_so_far() -> None:
    scale = RewardScale(gamma=0.5)
    reward = torch.tensor([[1.0, 0.0], [2.0, 4.0]])
    # Returns so far: 1, 0; then .5 + 2 = 2.5, and 4.
    seen = np.array([1, 0, 2.5, 4])
    torch.testing.assert_close(scale(reward), reward / float(seen.std()))
    more = torch.tensor([[3.0, 3.0]])
    every = np.append(seen, [3, 3])
    torch.testing.assert_close(scale(more), more / float(every.std()))
