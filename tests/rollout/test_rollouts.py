"""Which policy an episode of recorded roll-outs is driven by."""

from dataclasses import replace
from typing import Any

import pytest

from worldeval.errors import UserError
from worldeval.policy.perturb import Perturbed, Switched
from worldeval.rollout.recipe import RolloutsRecipe, TruthRecipe
from worldeval.rollout.rollouts import drawn_policy

REFS = ("zero", "random")
TRUTH = TruthRecipe(env="./sim.py:make")


def names(**settings: Any) -> list[str]:
    """The kinds of the policies of a hundred episodes."""
    recipe = RolloutsRecipe(tasks=("a",), policies=REFS, replan_every=1, truth=TRUTH, **settings)
    return [type(drawn_policy("", seed, refs=REFS, recipe=recipe)).__name__ for seed in range(100)]


def test_shares_of_the_episodes_are_switched_and_perturbed() -> None:
    assert set(names(switched=0.0, perturbed=0.0)) == {"Zero", "Random"}
    assert set(names(switched=1.0, perturbed=0.0)) == {Switched.__name__}
    assert set(names(switched=1.0, perturbed=1.0)) == {Perturbed.__name__}
    some = names(switched=0.25, perturbed=0.0)
    assert some.count(Switched.__name__) == pytest.approx(25, abs=10)


def test_an_episode_is_driven_the_same_whenever_it_is_drawn() -> None:
    assert names() == names()


def test_a_single_policy_drives_every_episode() -> None:
    recipe = RolloutsRecipe(tasks=("a",), policies=("zero",), replan_every=1, truth=TRUTH)
    drawn = [drawn_policy("", seed, refs=("zero",), recipe=recipe) for seed in range(20)]
    assert {policy.spec.action_dim for policy in drawn} == {drawn[0].spec.action_dim}


def test_an_action_that_is_no_whole_number_of_steps_is_not_perturbed() -> None:
    recipe = RolloutsRecipe(
        tasks=("a",), policies=("zero",), replan_every=1, perturbed=1.0, truth=replace(TRUTH, k=7)
    )
    with pytest.raises(UserError, match=r"not 7 simulator steps.*perturbed=0"):
        drawn_policy("", 0, refs=("zero",), recipe=recipe)


def test_a_policy_of_steps_hands_over_to_one_of_frames() -> None:
    """One gives an action a step, the other those of five steps at once."""
    recipe = RolloutsRecipe(tasks=("t",), policies=REFS, replan_every=1, switched=1.0, truth=TRUTH)
    refs = ("zero?action_dim=2&chunk=10", "zero?action_dim=10&chunk=2")
    drawn = [drawn_policy("", seed, refs=refs, recipe=recipe) for seed in range(8)]
    assert {(policy.spec.action_dim, policy.spec.chunk) for policy in drawn} == {(10, 2)}
