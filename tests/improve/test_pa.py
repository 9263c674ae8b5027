"""Off-policy improvement: what is remembered, how actions are improved, and PA-RL on the dot."""

from dataclasses import replace
from pathlib import Path as Folder
from typing import Any

import numpy as np
import pytest
import torch

from tests.improve.conftest import DotJudge, DotWorld, start
from tests.support.toy import TASKS
from worldeval.improve.critic import QCritic
from worldeval.improve.critic_recipe import CriticRecipe
from worldeval.improve.doubt import Doubt
from worldeval.improve.memory import ChunkRecorder, Memory, joined
from worldeval.improve.offpolicy import OffPolicy
from worldeval.improve.offpolicy_recipe import OffPolicyRecipe, PaRecipe
from worldeval.improve.pa import PolicyAgnostic, ascend, chosen
from worldeval.improve.place import Simulation
from worldeval.improve.proposals import proposals
from worldeval.improve.recipe import ExploreRecipe
from worldeval.improve.starts import Starts, recorded_starts
from worldeval.improve.units import units_of
from worldeval.improve.watch import Watch
from worldeval.policy.checkpoint import LearnedPolicy, load
from worldeval.policy.recipe import PolicyTrainerRecipe

CRITIC = CriticRecipe(hidden=48, learning_rate=2e-3, average=0.95, batch=128, calls=2)
EXPLORE = ExploreRecipe(noisy=0.5, noise=0.5, pushed=0.5, push=0.5)


def recorder(place: Simulation, policy: LearnedPolicy, **change: Any) -> ChunkRecorder:
    units = units_of(policy.network, replan_every=place.replan_every)
    given = {"place": place, "policy": policy, "units": units, "calls": 2, "gamma": 1.0}
    return ChunkRecorder(**{**given, **change})


def imagined(place: Simulation, policy: LearnedPolicy, **change: Any) -> Memory:
    drawn = [start(task, n) for task in TASKS for n in range(2)]
    return recorder(place, policy, **change).imagined(policy, drawn, [0, 1, 2, 3])


def test_a_memory_is_what_happened(place: Simulation, undecided: LearnedPolicy) -> None:
    found = imagined(place, undecided)
    calls, episodes, horizon = place.horizon // 2, 4, place.horizon
    assert len(found) == calls * episodes and len(found.demos) == horizon * episodes
    assert found.rows[:5].tolist() == [0, horizon, 2 * horizon, 3 * horizon, 2]
    # Two calls of rewards, and then the value two calls later; nothing follows the last two.
    assert found.after[:4].tolist() == [8, 9, 10, 11]
    assert found.discount.reshape(calls, episodes)[:, 0].tolist() == [1, 1, 0, 0]
    # All that is earned from the first call on is the judge's verdict less what the start gave.
    total = found.reward.reshape(calls, episodes)
    earned = (total[0] + total[2]).numpy()
    np.testing.assert_allclose(earned, found.probability - 0.02, atol=1e-6)
    # The executed part of a chunk, back in the robot's units, is what `demos` say was done.
    units = units_of(undecided.network, replan_every=2)
    back = found.action.unflatten(1, (2, -1)) * units.scale + units.mean
    np.testing.assert_allclose(back.numpy(), found.demos.actions[found.rows], atol=1e-5)
    moments = found.demos.moments(found.rows[[0, 4]], 3)
    assert moments.tolist() == [[0, 0, 0], [0, 1, 2]]


def test_memories_join(place: Simulation, undecided: LearnedPolicy) -> None:
    one = imagined(place, undecided)
    two = joined([one, one])
    assert two.rows[len(one) :].tolist() == (one.rows + len(one.demos)).tolist()
    assert two.after[len(one) :].tolist() == (one.after + len(one)).tolist()
    assert two.demos.episodes == {"left": 4, "right": 4}
    again = two.state[two.after[len(one)]]
    assert torch.equal(again, one.state[one.after[0]])


def test_a_second_world_lowers_rewards(place: Simulation, undecided: LearnedPolicy) -> None:
    """The second world drifts to the left, so what 'right' earns there is less."""
    plain = imagined(place, undecided)
    wary = imagined(place, undecided, second=DotWorld(drift=0.05))
    right = slice(2, 4)
    assert (wary.probability[right] <= plain.probability[right] + 1e-6).all()
    assert wary.probability[right].sum() < plain.probability[right].sum()


def test_recorded_actions_are_replayed(place: Simulation, undecided: LearnedPolicy, shards) -> None:
    begin = recorded_starts(shards, TASKS, np.random.default_rng(0))[:3]
    found = recorder(place, undecided).recorded(shards, begin)
    span = shards.rows(begin[0].seed)
    done = shards.actions[span.start : span.start + 2]
    np.testing.assert_allclose(found.demos.actions[0], done, atol=1e-6)
    assert len(found.probability) == 3


@pytest.mark.parametrize("head", ["bc", "flow"])
def test_proposals_are_the_policys_own_and_others_around_them(
    trained, place: Simulation, head: str
) -> None:
    policy = load(trained(head))
    memory, units = imagined(place, policy), units_of(policy.network, replan_every=2)
    rows = memory.rows[:6]

    def drawn(noise: float) -> torch.Tensor:
        rng = np.random.default_rng(0)
        return proposals(policy, units, memory.demos, rows, count=3, noise=noise, rng=rng)

    quiet, loud = drawn(0.0), drawn(0.3)
    assert torch.equal(quiet[:, 0], loud[:, 0])
    assert torch.equal(quiet[:, 0], quiet[:, 1]) == (head == "bc")  # which draws nothing
    assert not torch.equal(loud[:, 0], loud[:, 1])
    actions = policy.network.to_actions(loud[:, 1])
    torch.testing.assert_close(policy.network.to_target(actions), loud[:, 1])  # within bounds


class Hill(QCritic):
    """A critic that is known: highest where every number is `top`."""

    def __init__(self, top: float) -> None:
        super().__init__(1, 1, CriticRecipe(hidden=2))
        self.top = top

    def value(self, state, action):
        return 1 - (action - self.top).square().mean(-1)


def test_actions_climb_to_the_top_and_stop_at_the_bounds(undecided: LearnedPolicy) -> None:
    units = units_of(undecided.network, replan_every=2)
    begin = torch.zeros(2, 3, units.size)
    near, value = ascend(Hill(0.2), torch.zeros(2, 1), begin, units, steps=20, size=0.02)
    torch.testing.assert_close(near, torch.full_like(begin, 0.2), atol=0.02, rtol=0)
    assert (value > 0.999).all()
    far, _ = ascend(Hill(99.0), torch.zeros(2, 1), begin, units, steps=20, size=1.0)
    bound = units.high.repeat(2).expand_as(far)
    torch.testing.assert_close(far, bound)
    # A step that overshoots is not taken.
    stay, _ = ascend(Hill(0.0), torch.zeros(2, 1), begin, units, steps=3, size=0.5)
    assert torch.equal(stay, begin)


def test_the_best_is_chosen_or_drawn_by_its_value() -> None:
    values, generator = torch.tensor([[0.0, 1.0, 0.5]]).repeat(500, 1), torch.Generator()
    assert chosen(values, 0.0, generator).tolist() == [1] * 500
    drawn = chosen(values, 0.5, generator).bincount(minlength=3) / 500
    expected = (values[0] / 0.5).softmax(0)
    torch.testing.assert_close(drawn, expected, atol=0.08, rtol=0)


def run_of(place: Simulation, recipe: OffPolicyRecipe, out: Folder) -> OffPolicy:
    every = [
        tuple(start(task, first + n) for task in TASKS for n in range(8)) for first in (0, 50, 90)
    ]
    watch = Watch(
        place=place,
        starts=every[1],
        doubt=Doubt(place=place, disturbance=0.0),
        left_out=DotJudge(far=0.3),
        disagreement=recipe.disagreement,
        seed=0,
    )
    starts = Starts(training=every[0], check=every[1], held_out=every[2])
    return OffPolicy(place=place, recipe=recipe, starts=starts, watch=watch, out=out, seed=0)


@pytest.mark.parametrize("head", ["bc", "flow", "a2a"])
def test_an_undecided_policy_learns_its_task_whatever_its_head(
    trained, place: Simulation, head: str, tmp_path: Folder
) -> None:
    origin = load(trained(head))
    before = {name: value.clone() for name, value in origin.network.state_dict().items()}
    recipe = PaRecipe(
        iterations=2,
        episodes=32,
        critic=CRITIC,
        critic_steps=100,
        explore=EXPLORE,
        samples=6,
        noise=0.5,
        step=0.1,
        trainer=PolicyTrainerRecipe(steps=80, batch=32, warmup=5, learning_rate=3e-3, ema=0.9),
        disagreement=0.3,
    )
    method = PolicyAgnostic(origin, recipe, replan_every=place.replan_every, demos=None, seed=0)
    done = run_of(place, recipe, tmp_path).run(origin, method)
    first, best = done.checks[0], max(done.checks, key=lambda check: check.pessimistic)
    assert best.pessimistic > first.pessimistic + 0.15
    assert done.checkpoint == best.checkpoint and done.checkpoint is not None
    assert load(done.checkpoint).spec.name == done.policy.spec.name
    assert all(one["value_gain"] > 0 for one in done.iterations)
    assert done.to_json()["steps"] == 160
    for name, value in origin.network.state_dict().items():
        assert torch.equal(value, before[name]), "the initial policy was changed"


def test_recipes_that_contradict_themselves_are_refused() -> None:
    with pytest.raises(ValueError, match="best 9"):
        PaRecipe(best=9)
    with pytest.raises(ValueError, match="ratio"):
        PaRecipe(ratio=1.0)
    assert replace(PaRecipe(), leave_out=False).suffix == "pa"
