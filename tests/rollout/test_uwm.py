"""A `uwm` world model in its other roles: as a policy, as a check, and drawing near a policy."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.dots import SPEC, TOLD
from tests.world.uwm.tiny import TINY, new_world
from worldeval.errors import UserError
from worldeval.evaluate.policies import policy_cards
from worldeval.policy.builtin import Random
from worldeval.policy.load import load_policy
from worldeval.policy.protocol import Policy
from worldeval.record import Observation, Rollout, Start, Verdict
from worldeval.rollout.guided import imagine_guided
from worldeval.rollout.inverse import SIGNAL, checked, inverse_error, load_checker
from worldeval.rollout.loop import imagine, replay_actions
from worldeval.rollout.recipe import GuidedRecipe
from worldeval.rollout.uwm_policy import UwmPolicy
from worldeval.runs.store import RolloutStore
from worldeval.world.load import save_world
from worldeval.world.recipe import KinematicsRecipe, TokenizerRecipe
from worldeval.world.tokenizer.network import Tokenizer
from worldeval.world.uwm.world import UwmWorld

TOKENS = TokenizerRecipe(widths=(8, 16), channels=1)
RECIPE = replace(
    TINY,
    tokenizer=TOKENS,
    actuation=TOLD,
    kinematics=KinematicsRecipe(width=16, depth=1, sight=4),
    policy_steps=3,
)


def seeing_world(seed: int = 0) -> UwmWorld:
    """An untrained world whose tokenizer reads pictures."""
    world = new_world(RECIPE)
    torch.manual_seed(seed)
    world.tokenizer = Tokenizer(TOKENS, tasks=2, views=2, size=(16, 16)).eval()
    return world


def some_starts(count: int = 2) -> list[Start]:
    rng = np.random.default_rng(0)
    return [
        Start(
            id=f"start-{i}",
            task=SPEC.tasks[i % 2],
            seed=i,
            frames={view: rng.integers(0, 256, (16, 16, 3), np.uint8) for view in SPEC.views},
            pose=rng.normal(0, 0.3, 4).astype(np.float32),
        )
        for i in range(count)
    ]


def observed(starts: list[Start]) -> Observation:
    return Observation(
        frames={view: np.stack([start.frames[view] for start in starts]) for view in SPEC.views},
        pose=np.stack([start.pose for start in starts]),
        tasks=tuple(start.task for start in starts),
    )


def acted(policy: UwmPolicy, starts: list[Start]) -> np.ndarray:
    policy.reset([start.task for start in starts], [start.seed for start in starts])
    return policy.act(observed(starts))


def test_a_world_acts_by_its_own_seeds_alone() -> None:
    policy, starts = UwmPolicy(seeing_world(), lineage="uwm", step=7), some_starts(3)
    assert isinstance(policy, Policy)
    every = acted(policy, starts)
    assert every.shape == (3, TINY.chunk, 4)
    assert np.abs(every).max() <= 1
    np.testing.assert_allclose(acted(policy, starts[1:2])[0], every[1], atol=1e-5)
    assert np.array_equal(acted(policy, starts), every)


def test_a_policy_needs_a_known_task_and_the_batch_that_was_begun() -> None:
    policy, starts = UwmPolicy(seeing_world(), lineage="uwm", step=7), some_starts()
    policy.reset(["left"], [0])
    with pytest.raises(ValueError, match="2 episodes observed, but reset started 1"):
        policy.act(observed(starts))
    policy.reset(["left", "up"], [0, 1])
    with pytest.raises(UserError, match="was not trained on the task 'up'"):
        policy.act(replace(observed(starts), tasks=("left", "up")))


def test_the_folder_of_a_world_names_its_policy(tmp_path: Path) -> None:
    world, folder = seeing_world(), tmp_path / "mine"
    save_world(folder, world, RECIPE, kind="uwm", notes={})
    policy = load_policy(str(folder))
    assert policy.spec.name == f"mine/step-{RECIPE.trainer.steps}"
    assert policy.spec.chunk == TINY.chunk
    cards = policy_cards([str(folder)])
    assert cards["lineage"].tolist() == ["mine"]
    same = acted(UwmPolicy(world, lineage="x", step=1), some_starts())
    assert isinstance(policy, UwmPolicy)
    np.testing.assert_allclose(acted(policy, some_starts()), same, atol=0.05)  # stored in halves


def rolled(world: UwmWorld, horizon: int = 3) -> list[Rollout]:
    starts = some_starts()
    given = {"horizon": horizon, "replan_every": 1, "seeds": [0, 1]}
    return imagine(world, Random(action_dim=4), starts, **given)


def test_an_action_that_the_frames_show_has_no_error() -> None:
    world = seeing_world()
    rollouts = rolled(world, horizon=1)
    inferred = world.infer(
        np.stack([np.asarray(each.latents, np.float32) for each in rollouts]),
        np.stack([each.pose for each in rollouts]),
        np.stack([each.actions for each in rollouts]),
        [each.task for each in rollouts],
        seed=0,
    )
    honest = [replace(each, actions=a) for each, a in zip(rollouts, inferred, strict=True)]
    assert inverse_error(honest, world, world).max() < 1e-6
    std = 2.0
    world.model.features.action_std.fill_(std)
    off = [replace(each, actions=each.actions + std * 1.5) for each in honest]
    again = inverse_error(off, world, world) - inverse_error(honest, world, world)
    assert again.shape == (2, 1)
    assert (again > 0.1).all()


def test_a_signal_is_kept_step_by_step(tmp_path: Path) -> None:
    world = seeing_world()
    rollouts = checked(rolled(world), world, world)
    signal = rollouts[0].trust_by_step[SIGNAL]
    assert signal.shape == (3,)
    assert rollouts[0].trust[SIGNAL] == pytest.approx(float(signal.mean()))
    assert "mended_actions" in rollouts[0].trust  # what was there before stays
    store = RolloutStore(tmp_path)
    store.save("0", rollouts, [Verdict(probability=0.5, step=1, judge="none", votes=(0.5,))] * 2)
    for (kept, _), told in zip(store.rollouts(), rollouts, strict=True):
        assert np.array_equal(kept.trust_by_step[SIGNAL], told.trust_by_step[SIGNAL])
        assert kept.trust == told.trust


def test_a_checker_with_another_tokenizer_looks_at_pictures() -> None:
    world, checker, twin = seeing_world(), seeing_world(seed=5), seeing_world()
    rollouts = rolled(world)
    own, same, other = (inverse_error(rollouts, world, each) for each in (world, twin, checker))
    assert np.array_equal(own, same)
    assert np.abs(own - other).max() > 1e-4


def test_only_worlds_that_infer_actions_check(tmp_path: Path) -> None:
    assert load_checker("") is None
    save_world(tmp_path, seeing_world(), RECIPE, kind="uwm", notes={})
    assert isinstance(load_checker(str(tmp_path)), UwmWorld)


def test_guided_episodes_come_nearer_to_the_policy() -> None:
    world, starts = seeing_world(), some_starts()
    likely = []
    for scale in (0.0, 1.0, 10.0):
        rollouts = guided(world, Random(action_dim=4, chunk=2), starts, scale=scale)
        assert (rollouts[0].policy, rollouts[0].actions.shape) == ("random", (4, 4))
        assert np.abs(rollouts[0].actions).max() <= 1  # as far as this world's actions go
        assert np.asarray(rollouts[0].latents).shape[0] == rollouts[0].pose.shape[0] == 5
        likely.append(np.mean([each.trust["log_likelihood"] for each in rollouts]))
    assert likely == sorted(likely)
    assert likely[-1] > likely[0] + 0.3


def guided(world: UwmWorld, policy: Policy, starts: list[Start], *, scale: float) -> list[Rollout]:
    given = {"horizon": 4, "replan_every": 3, "seeds": [start.seed for start in starts]}
    return imagine_guided(world, policy, starts, guided=GuidedRecipe(scale=scale), **given)


def test_guided_episodes_are_made_of_the_frames_drawn_with_their_actions() -> None:
    world, starts = seeing_world(), some_starts()
    policy = Random(action_dim=4, chunk=2)
    rollout = guided(world, policy, starts, scale=1.0)[0]
    told = replay_actions(world, starts[:1], rollout.actions[None], seeds=[0])[0]
    # The same actions, told afterwards, lead to the same hand and to other frames.
    difference = np.abs(np.float32(rollout.latents) - np.float32(told.latents)).max((1, 2, 3, 4))
    assert difference[0] < 1e-3 and (difference[1:] > 1e-3).all()
    alone = guided(world, policy, starts[:1], scale=1.0)[0]
    np.testing.assert_allclose(alone.actions, rollout.actions, atol=1e-3)


def test_what_a_guiding_policy_gives_outside_the_range_is_counted() -> None:
    class Far(Random):
        def act(self, observation: Observation) -> np.ndarray:
            return np.full((len(observation), 2, 4), 3.0, np.float32)

    rollouts = guided(seeing_world(), Far(action_dim=4, chunk=2), some_starts(), scale=1e4)
    assert rollouts[0].trust["mended_actions"] == 1
    np.testing.assert_allclose(rollouts[0].actions, 1, atol=1e-2)
