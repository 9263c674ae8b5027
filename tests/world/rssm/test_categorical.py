"""The stochastic state: divergences worked out by hand, and draws with the right chances."""

import math

import pytest
import torch

from worldeval.world.rssm.categorical import balanced, divergence, draw, mixed


def certain(*chances: float) -> torch.Tensor:
    return torch.tensor([[chances]]).log()


def test_unimix_keeps_every_class_possible() -> None:
    chance = mixed(torch.tensor([[[100.0, 0.0, 0.0, 0.0]]]), 0.01).exp()
    assert chance[0, 0].tolist() == pytest.approx([0.9925, 0.0025, 0.0025, 0.0025])


def test_divergence_by_hand() -> None:
    left, right = certain(0.5, 0.5), certain(0.25, 0.75)
    expected = 0.5 * math.log(2) + 0.5 * math.log(2 / 3)
    assert float(divergence(left, right)) == pytest.approx(expected)
    two = divergence(left.repeat(1, 2, 1), right.repeat(1, 2, 1))  # variables add up
    assert float(two) == pytest.approx(2 * expected)


def test_each_term_trains_its_own_side() -> None:
    posterior = torch.tensor([[[2.0, -1.0, 0.5]]], requires_grad=True)
    prior = torch.tensor([[[-1.0, 1.0, 0.0]]], requires_grad=True)
    split = balanced(posterior.log_softmax(-1), prior.log_softmax(-1), free_nats=0.0)
    torch.testing.assert_close(split.dynamics, split.representation)
    for term, gets, spared in (
        (split.dynamics, prior, posterior),
        (split.representation, posterior, prior),
    ):
        (gradient,) = torch.autograd.grad(term.sum(), gets, retain_graph=True)
        assert gradient.abs().max() > 0.01
        assert torch.autograd.grad(term.sum(), spared, retain_graph=True, allow_unused=True) == (
            None,
        )


def test_the_prior_is_pulled_to_the_posterior() -> None:
    """The gradient of KL(q || softmax(l)) by l is softmax(l) - q."""
    logits = torch.tensor([[[0.0, 0.0]]], requires_grad=True)
    split = balanced(certain(0.9, 0.1), logits.log_softmax(-1), free_nats=0.0)
    (gradient,) = torch.autograd.grad(split.dynamics.sum(), logits)
    assert gradient[0, 0].tolist() == pytest.approx([0.5 - 0.9, 0.5 - 0.1])


def test_free_nats_cost_the_same_and_pull_nothing() -> None:
    logits = torch.tensor([[[0.1, 0.0]], [[9.0, 0.0]]], requires_grad=True)
    target = certain(0.5, 0.5).repeat(2, 1, 1)
    split = balanced(target, logits.log_softmax(-1), free_nats=1.0)
    assert split.dynamics[0].item() == 1.0
    assert split.dynamics[1].item() > 1.0
    (gradient,) = torch.autograd.grad(split.dynamics.sum(), logits)
    assert gradient[0].abs().max() == 0
    assert gradient[1].abs().max() > 0


def test_draws_follow_the_chances() -> None:
    generator = torch.Generator().manual_seed(0)
    log_chance = certain(0.2, 0.5, 0.3).repeat(20_000, 1, 1)
    uniform = torch.rand(log_chance.shape, generator=generator)
    share = draw(log_chance, uniform).mean((0, 1))
    assert share.tolist() == pytest.approx([0.2, 0.5, 0.3], abs=0.015)  # 4 standard errors
    assert draw(log_chance, None)[0, 0].tolist() == [0, 1, 0]


def test_a_draw_passes_the_gradient_of_its_chances() -> None:
    logits = torch.tensor([[[0.3, -0.2, 0.1]]], requires_grad=True)
    worth = torch.tensor([1.0, 2.0, 5.0])
    drawn = (draw(logits.log_softmax(-1), None) * worth).sum()
    expected = (logits.softmax(-1) * worth).sum()
    one, other = (torch.autograd.grad(x, logits)[0] for x in (drawn, expected))
    torch.testing.assert_close(one, other)
