"""Policy gradients for every kind of head, and in a recurrent state-space model."""

from pathlib import Path as Folder
from typing import Any

import numpy as np
import pytest
import torch

from tests.improve.conftest import DotJudge, start
from tests.support.toy import TASKS, toy_recipe, toy_shards
from worldeval.improve.doubt import Doubt
from worldeval.improve.dppo import Dppo
from worldeval.improve.experience import collect
from worldeval.improve.place import Simulation
from worldeval.improve.recipe import RlRecipe
from worldeval.improve.starts import Starts
from worldeval.policy.checkpoint import load
from worldeval.policy.heads.chain import actor_of
from worldeval.training.recipe import TrainerRecipe
from worldeval.world.load import load_world
from worldeval.world.rssm.recipe import RssmRecipe
from worldeval.world.rssm.world import RssmWorld
from worldeval.world.training.pipeline import train_world
from worldeval.world.training.prepare import prepare

CALLS = 3  # of the policy, two frames apart


@pytest.fixture(scope="module")
def rssm(tmp_path_factory: pytest.TempPathFactory) -> RssmWorld:
    """A tiny recurrent state-space model of the dot, hardly trained."""
    folder, toy = tmp_path_factory.mktemp("rssm"), toy_recipe(steps=40)
    recipe = RssmRecipe(
        deter=16,
        groups=2,
        classes=4,
        width=16,
        channels=8,
        length=3,
        tokenizer=toy.tokenizer,
        actuation=toy.actuation,
        held_out=toy.held_out,
        trainer=TrainerRecipe(steps=4, batch=4),
    )

    def quiet(stage: str, steps: int) -> Any:
        return lambda step, loss: None

    data = toy_shards(folder / "data", episodes=6)
    prepared = prepare(recipe, data, [], folder / "world", seed=0, report=quiet)
    train_world(recipe, prepared, folder / "world", kind="rssm", seed=0, report=quiet)
    world = load_world(folder / "world")
    assert isinstance(world, RssmWorld)
    return world


def brief(**change: Any) -> RlRecipe:
    given = {"iterations": 2, "episodes": 4, "check_every": 2, "critic_warmup": 1, "epochs": 2}
    return RlRecipe(**{**given, "learning_rate": 1e-3, **change})


def run_of(place: Simulation, recipe: RlRecipe, out: Folder) -> Dppo:
    every = [
        tuple(start(task, first + n) for task in TASKS for n in range(2)) for first in (0, 50, 90)
    ]
    return Dppo(
        place=place,
        recipe=recipe,
        starts=Starts(training=every[0], check=every[1], held_out=every[2]),
        doubt=Doubt(place=place, disturbance=0.0),
        out=out,
        seed=0,
    )


@pytest.mark.parametrize("head", ["diffusion", "flow"])
def test_policies_learn_in_a_recurrent_state_space_model(
    trained, rssm: RssmWorld, head: str, tmp_path: Folder
) -> None:
    origin = load(trained(head))
    place = Simulation(world=rssm, judge=DotJudge(), horizon=2 * CALLS, replan_every=2, batch=4)
    actor = actor_of(origin.network, last_steps=3, eta=1.0, floor=0.1)
    starts = [start(task, 0) for task in TASKS]
    found = collect(place, origin, actor, starts, [0, 1])
    # The value head reads the model's own h and z, beside the task and the time.
    assert found.state.shape == (CALLS, 2, rssm.feature_size + len(TASKS) + 1)
    done = run_of(place, brief(), tmp_path).run(origin)
    assert [check.iteration for check in done.checks] == [0, 2]
    assert sum(each.learned.steps for each in done.iterations) > 0
    assert moved(origin.network.head, load(tmp_path / "policies" / f"dot-{head}-rl/step-2"))


def test_a_regression_policy_learns_by_the_gaussian_around_its_answer(
    trained, place: Simulation, tmp_path: Folder
) -> None:
    origin = load(trained("bc"))
    recipe = brief(iterations=8, episodes=16, check_every=8, floor=0.3, target_kl=1.0, bc=0.0)
    done = run_of(place, recipe, tmp_path).run(origin)
    seen = [each.imagined for each in done.iterations]
    assert np.mean(seen[-3:]) > np.mean(seen[:3])
    assert moved(origin.network.head, load(tmp_path / "policies/dot-bc-rl/step-8"))


def moved(head: torch.nn.Module, policy: Any) -> bool:
    pairs = zip(head.parameters(), policy.network.head.parameters(), strict=True)
    return any(not torch.equal(old, new) for old, new in pairs)
