"""The critic: on a chain whose values are worked out by hand, and each of its parts."""

import pytest
import torch

from worldeval.improve.critic import CriticLearner, QCritic, n_step, quantile_loss, two_hot
from worldeval.improve.critic_recipe import CriticRecipe

GAMMA = 0.9
# Three states in a row. Action 1 goes on, and action 0 stays; from the last state, going on ends
# the episode and earns 1. The policy always goes on, so Q(s, go) is .81, .9, 1, and staying costs
# one discount: Q(s, stay) is .9 V(s) = .729, .81, .9.
STATES = torch.eye(3)
VALUE = torch.tensor([[0.729, 0.81], [0.81, 0.9], [0.9, 1.0]])


def chain() -> tuple[torch.Tensor, ...]:
    """Every state and action: state, action, reward, discount, next state."""
    place = torch.arange(3).repeat_interleave(2)
    action = torch.tensor([0.0, 1.0]).repeat(3)
    after = (place + action.long()).clamp(max=2)
    ended = (place == 2) & (action == 1)
    discount = torch.where(ended, 0.0, GAMMA)
    return STATES[place], action[:, None], ended.float(), discount, STATES[after]


HEADS = [
    {"head": "mean"},
    {"head": "two-hot", "target": "mean", "atoms": 21},
    {"head": "quantile", "target": "truncated", "atoms": 5, "dropped": 1},
    {"head": "quantile", "target": "min", "atoms": 3},
]


@pytest.mark.parametrize("how", HEADS, ids=["mean", "two-hot", "truncated", "quantile"])
def test_values_are_those_worked_out_by_hand(how: dict) -> None:
    recipe = CriticRecipe(hidden=32, learning_rate=5e-3, average=0.9, gamma=GAMMA, **how)
    learner = CriticLearner(3, 1, recipe, seed=0)
    state, action, reward, discount, after = chain()
    go_on = torch.ones(6, 1)
    for _ in range(400):
        target = learner.targets(reward, discount, after, go_on)
        learner.step(state, action, target)
    found = learner.critic.value(state, action).reshape(3, 2)
    torch.testing.assert_close(found, VALUE, atol=0.03, rtol=0)


def test_rewards_of_several_calls_are_summed_until_the_end() -> None:
    reward = torch.tensor([[1.0], [2.0], [4.0], [8.0]])
    total, discount = n_step(reward, calls=2, gamma=0.5)
    assert total[:, 0].tolist() == [2.0, 4.0, 8.0, 8.0]
    assert discount[:, 0].tolist() == [0.25, 0.25, 0, 0]
    total, discount = n_step(reward, calls=9, gamma=1.0)
    assert total[0, 0] == 15 and not discount.any()


def test_a_target_takes_the_smaller_network_and_stays_within_bounds() -> None:
    learner = CriticLearner(1, 1, CriticRecipe(hidden=4), seed=0)
    for member, value in zip(learner.target.members, (0.3, 0.7), strict=True):
        _constant(member, torch.tensor([value]))
    zero = torch.zeros(2, 1)
    given = torch.tensor([0.1, 0.9]), torch.tensor([0.5, 0.5])
    found = learner.targets(*given, zero, zero)
    assert found[:, 0].tolist() == pytest.approx([0.1 + 0.15, 1.0])
    found = learner.targets(*given, zero, zero, bonus=torch.tensor([0.2, -2.0]))
    assert found[:, 0].tolist() == pytest.approx([0.1 + 0.25, 0.05])


def test_a_truncated_target_leaves_the_largest_quantiles_out() -> None:
    recipe = CriticRecipe(hidden=4, head="quantile", atoms=3, target="truncated", dropped=1)
    learner = CriticLearner(1, 1, recipe, seed=0)
    _constant(learner.target.members[0], torch.tensor([0.1, 0.2, 0.9]))
    _constant(learner.target.members[1], torch.tensor([0.3, 0.4, 0.8]))
    zero, none, all_of_it = torch.zeros(1, 1), torch.zeros(1), torch.ones(1)
    found = learner.targets(none, all_of_it, zero, zero)
    assert found[0].tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4])


def test_pessimism_lowers_the_value_by_the_spread_of_returns() -> None:
    recipe = CriticRecipe(hidden=4, head="quantile", atoms=2, target="mean", pessimism=0.5)
    learner, zero = CriticLearner(1, 1, recipe, seed=0), torch.zeros(1, 1)
    for critic in (learner.critic, learner.target):
        for member in critic.members:
            _constant(member, torch.tensor([0.2, 0.6]))  # mean .4, standard deviation .2
    assert learner.critic.value(zero, zero).item() == pytest.approx(0.3)
    found = learner.targets(torch.zeros(1), torch.ones(1), zero, zero)
    assert found[0].tolist() == pytest.approx([0.1, 0.5])


def test_two_hot_keeps_the_mean() -> None:
    support = torch.linspace(0, 1, 6)
    found = two_hot(torch.tensor([0.0, 0.25, 1.0, 3.0]), support)
    assert found[1].tolist() == pytest.approx([0, 0.75, 0.25, 0, 0, 0])
    assert (found @ support).tolist() == pytest.approx([0, 0.25, 1, 1])


def test_quantiles_of_a_coin_are_its_two_sides() -> None:
    """The quartiles at .25 and .75 of a fair coin are 0 and 1, where a mean would be .5."""
    guess = torch.tensor([[0.4, 0.5]], requires_grad=True)
    optimiser = torch.optim.Adam([guess], lr=0.02)
    for _ in range(300):
        optimiser.zero_grad()
        quantile_loss(guess, torch.tensor([[0.0, 1.0]])).backward()
        optimiser.step()
    assert guess[0].tolist() == pytest.approx([0, 1], abs=0.06)


def test_states_are_standardised_and_strange_ones_bounded() -> None:
    critic = QCritic(2, 1, CriticRecipe(hidden=8))
    critic.fit_normaliser(torch.tensor([[0.0, 7.0], [2.0, 7.0]]))
    at = torch.zeros(1, 1)
    far, farther = (critic.value(torch.tensor([[1e3 * by, 7.0]]), at) for by in (1, 2))
    assert torch.equal(far, farther)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"target": "truncated"}, "the head is mean"),
        ({"pessimism": 0.5}, "spread of returns"),
        ({"head": "quantile", "target": "truncated", "atoms": 3, "dropped": 3}, "below atoms"),
        ({"bounds": (1.0, 0.0)}, "lowest, highest"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(change: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        CriticRecipe(**change)


def _constant(member: torch.nn.Module, values: torch.Tensor) -> None:
    """Make a network give `values`, whatever it reads."""
    with torch.no_grad():
        *_, last = member.children()
        assert isinstance(last, torch.nn.Linear)
        last.weight.zero_()
        last.bias.copy_(values)
