"""Policy-guided sampling where the answer is known: Gaussian behaviour, Gaussian policy."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.support.dots import LATENT
from tests.world.uwm.tiny import TINY, new_model, some_seen
from worldeval.world.features import Features
from worldeval.world.uwm.guidance import gaussian, official_weight, policy_guide, proximal
from worldeval.world.uwm.modes import Moment, Noise, draw, own_noise
from worldeval.world.uwm.network import PAIR, Look, Said, Uwm


class UnitGaussian(Uwm):
    """A perfect model of behaviour N(0, 1): E[a | x_t] = signal x_t, so the velocity is zero."""

    def __init__(self) -> None:
        features = Features(pose_dim=4, action_dim=1, tasks=2)
        super().__init__(replace(TINY, times=200), features, latent=LATENT)

    def denoise(
        self,
        look: Look,
        actions: Tensor,
        future: Tensor,
        action_time: Tensor,
        future_time: Tensor,
    ) -> Said:
        return Said(actions=torch.zeros_like(actions), future=torch.zeros_like(future))


def sampled(scale: float, *, mode: float, std: float, count: int = 1500, steps: int = 40) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    noise = Noise(
        actions=torch.randn(count, 1, 1, generator=generator),
        future=torch.zeros(count, PAIR, *LATENT),
    )
    target = gaussian(torch.full((count, 1, 1), mode), std)
    guide = policy_guide(target, scale=scale, action_std=torch.ones(1))
    drawn = draw(UnitGaussian(), some_seen(count), noise, mode="joint", steps=steps, guide=guide)
    assert drawn.actions is not None
    return drawn.actions.flatten()


@pytest.mark.parametrize("scale", [0.0, 1.0, 4.0])
def test_gaussian_samples_follow_the_product_of_behaviour_and_policy(scale: float) -> None:
    """N(0, 1) N(2, .8)^scale is Gaussian: precision 1 + scale/.64, mean 2 (scale/.64)/precision."""
    found = sampled(scale, mode=2.0, std=0.8)
    precision = 1 + scale / 0.64
    assert float(found.mean()) == pytest.approx(2 * (scale / 0.64) / precision, abs=0.08)
    assert float(found.std()) == pytest.approx(1 / math.sqrt(precision), rel=0.08)


def test_the_policy_finds_samples_the_likelier_the_larger_the_scale() -> None:
    target = gaussian(torch.full((200, 1, 1), 2.0), 0.8)
    likelihood = [
        float(target(sampled(scale, mode=2.0, std=0.8, count=200, steps=10)[:, None, None]).mean())
        for scale in (0.0, 0.3, 1.0, 4.0)
    ]
    assert likelihood == sorted(likelihood)
    assert likelihood[-1] > likelihood[0] + 1


def test_scale_zero_changes_nothing() -> None:
    model, seen = new_model(), some_seen()
    noise = own_noise(model, [torch.Generator().manual_seed(i) for i in range(2)])
    guide = policy_guide(
        gaussian(torch.ones(2, 3, 4), 0.1), scale=0.0, action_std=model.features.action_std
    )
    plain = draw(model, seen, noise, mode="joint", steps=3)
    guided = draw(model, seen, noise, mode="joint", steps=3, guide=guide)
    assert plain.actions is not None and guided.actions is not None
    assert torch.equal(plain.actions, guided.actions)


def test_a_network_is_moved_to_the_policy_and_sees_what_follows() -> None:
    model, seen = new_model(), some_seen()
    noise = own_noise(model, [torch.Generator().manual_seed(i) for i in range(2)])
    goal = torch.full((2, 3, 4), 1.5)
    away, futures = [], []
    for scale in (0.0, 1.0, 20.0):
        guide = policy_guide(gaussian(goal, 0.5), scale=scale, action_std=model.features.action_std)
        drawn = draw(model, seen, noise, mode="joint", steps=4, guide=guide)
        assert drawn.actions is not None and drawn.future is not None
        away.append(float((drawn.actions - goal).square().mean()))
        futures.append(drawn.future)
    assert away == sorted(away, reverse=True)
    assert away[-1] < 0.2 * away[0]
    assert (futures[0] - futures[-1]).abs().max() > 1e-4  # what is seen next follows the actions


def test_the_proximal_step_by_hand() -> None:
    """argmax of 3 log N(a; 2, 1) - (a - 1)^2 / (2 * .5) is (3 * 2 + 2 * 1) / (3 + 2)."""
    found = proximal(
        gaussian(torch.full((1, 1, 1), 2.0), 1.0),
        torch.ones(1, 1, 1),
        spread=torch.tensor([0.5]),
        scale=3.0,
        rounds=30,
    )
    assert float(found) == pytest.approx(1.6, abs=1e-3)


def test_a_steep_policy_is_not_overshot() -> None:
    narrow = gaussian(torch.zeros(1, 1, 1), 0.01)
    found = proximal(narrow, torch.ones(1, 1, 1), spread=torch.ones(1), scale=100.0, rounds=40)
    assert abs(float(found)) < 0.05


def test_a_gaussian_policy_by_hand() -> None:
    likelihood = gaussian(torch.zeros(1, 2, 2), 0.5)
    found = likelihood(torch.tensor([[[0.5, 0.0], [0.0, 0.0], [9.0, 9.0]]]))  # the third is free
    each = -math.log(0.5) - math.log(2 * math.pi) / 2
    assert float(found) == pytest.approx(4 * each - 0.5)


def test_official_weights_fall_with_a_bump_in_the_middle() -> None:
    """By hand for four steps: sin of a quarter, a half, three quarters and the whole of pi."""
    root = 0.3 / math.sqrt(2)
    found = [official_weight(step, 4) for step in range(4)]
    assert found == pytest.approx([1 + root, 0.75 + 0.3, 0.5 + root, 0.25])


def test_a_weighted_step_has_the_official_length_along_the_gradient() -> None:
    target = gaussian(torch.tensor([[[3.0, 4.0]], [[0.0, -1.0]]]), 1.0)
    guide = policy_guide(target, scale=0.5, action_std=torch.ones(2), weighted=True)
    moved = guide(torch.zeros(2, 1, 2), Moment(left=0.5, step=1, steps=4))
    size = 0.5 * official_weight(1, 4)
    expected = size * torch.tensor([[[0.6, 0.8]], [[0.0, -1.0]]])
    torch.testing.assert_close(moved, expected)
    # Standardised: a number that varies twice as much counts twice in the gradient and in the step.
    wide = policy_guide(target, scale=0.5, action_std=torch.tensor([2.0, 1.0]), weighted=True)
    moved = wide(torch.zeros(2, 1, 2), Moment(left=0.5, step=1, steps=4))
    unit = torch.tensor([6.0, 4.0]) / math.sqrt(52)
    torch.testing.assert_close(moved[0, 0], size * torch.tensor([2.0, 1.0]) * unit)


def test_weighted_samples_come_nearer_to_the_policy() -> None:
    target = gaussian(torch.full((300, 1, 1), 2.0), 0.8)
    likelihood = []
    for scale in (0.0, 0.2):
        noise = Noise(
            actions=torch.randn(300, 1, 1, generator=torch.Generator().manual_seed(0)),
            future=torch.zeros(300, PAIR, *LATENT),
        )
        guide = policy_guide(target, scale=scale, action_std=torch.ones(1), weighted=True)
        drawn = draw(UnitGaussian(), some_seen(300), noise, mode="joint", steps=10, guide=guide)
        assert drawn.actions is not None
        likelihood.append(float(target(drawn.actions).mean()))
    assert likelihood[1] > likelihood[0] + 0.5
