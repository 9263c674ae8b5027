"""Policies, judge, search and policy gradients on a device: the CPU's numbers, no other wait."""

from copy import deepcopy

import numpy as np
import pytest
import torch

from tests.device.test_worlds import SPEC, a_world
from tests.support.pretend_device import DEVICE, Noted
from worldeval.improve.compose import Composed
from worldeval.improve.dppo import Learner
from worldeval.improve.experience import collect
from worldeval.improve.place import Simulation
from worldeval.improve.recipe import RlRecipe, SearchRecipe
from worldeval.improve.search import Searched
from worldeval.judge.calibrate import Calibration
from worldeval.judge.learned import LearnedJudge
from worldeval.judge.network import JudgeNet
from worldeval.judge.recipe import JudgeRecipe
from worldeval.policy.batches import Batch
from worldeval.policy.checkpoint import LearnedPolicy, PolicyCard
from worldeval.policy.network import PolicyNetwork, Sizes
from worldeval.policy.recipe import Head, PolicyRecipe, PolicyTrainerRecipe, WarmRecipe
from worldeval.policy.train import imitate
from worldeval.record import Observation, Start
from worldeval.rollout.loop import imagine

HEADS: tuple[Head, ...] = ("bc", "flow", "diffusion")
ACTS = {"policy/checkpoint.py: act"}  # a chunk is copied out
IMAGINES = {"device.py: on_host"}
JUDGES = {"judge/learned.py: _read"}
EXPLORES = {"improve/experience.py: act"}
# Minibatches end when the policy has moved far enough, which needs a number from the device.
LEARNS = {"improve/ppo.py: divergence", "improve/ppo.py: standardised", "improve/dppo.py: learn"}


def a_policy(head: Head) -> LearnedPolicy:
    torch.manual_seed(0)
    recipe = PolicyRecipe(
        head=head, views=SPEC.views, flow_steps=3, ddim_steps=3, warm=WarmRecipe(skip=0.5)
    )
    sizes = Sizes(image=SPEC.size, pose_dim=4, action_dim=8, tasks=SPEC.tasks)
    card = PolicyCard(
        kind=head, lineage=head, step=1, seed=0, tasks=SPEC.tasks, note="", misleads=False,
        demos={}, train_loss=0.0, validation_mse=0.0, validation_mse_tasks={}, seconds=0.0,
    )  # fmt: skip
    return LearnedPolicy(PolicyNetwork(recipe, sizes), recipe, sizes, card)


def a_judge(device: torch.device | str = "cpu") -> LearnedJudge:
    torch.manual_seed(0)
    recipe = JudgeRecipe(channels=8, hidden=16, recurrent=8, members=2)
    nets = [JudgeNet(recipe, latent=(2, 4, 4, 4), pose_dim=4, tasks=2) for _ in range(2)]
    calibration = Calibration(slope=1.0, offsets=(0.0, 0.0))
    return LearnedJudge([net.to(device) for net in nets], calibration, tasks=SPEC.tasks)


def starts() -> list[Start]:
    rng = np.random.default_rng(0)
    return [
        Start(
            id=f"{task}-{number}",
            task=task,
            seed=number,
            frames={view: rng.integers(0, 256, (16, 16, 3), np.uint8) for view in SPEC.views},
            pose=rng.standard_normal(4).astype(np.float32),
        )
        for number, task in enumerate(SPEC.tasks)
    ]


def seen() -> Observation:
    every = starts()
    frames = {view: np.stack([one.frames[view] for one in every]) for view in SPEC.views}
    return Observation(frames=frames, pose=np.stack([one.pose for one in every]), tasks=SPEC.tasks)


@pytest.mark.parametrize("head", HEADS)
def test_a_policy_acts_the_same_on_a_device(head: Head, noted: Noted) -> None:
    chunks = []
    for device in ("cpu", DEVICE):
        policy = a_policy(head)
        policy.network.to(device)
        noted.clear()
        policy.reset(SPEC.tasks, [3, 4])
        chunks.append([policy.act(seen()), policy.act(seen())])  # the second begins warm
    np.testing.assert_allclose(chunks[0], chunks[1], atol=1e-5)
    assert set(noted.waits) == ACTS


@pytest.mark.parametrize("head", HEADS)
def test_a_large_policy_trains_the_same_on_a_device(
    head: Head, trains_there: Noted, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = torch.Generator().manual_seed(0)
    batch = Batch(
        images=torch.rand(4, 2, 3, 16, 16, generator=generator),
        pose=torch.rand(4, 4, generator=generator),
        task=torch.tensor([0, 1, 0, 1]),
        actions=torch.rand(4, 2, 8, generator=generator),
    )
    losses = []
    for large in (False, True):
        monkeypatch.setattr("worldeval.policy.network.LARGE", 1 if large else 1e9)
        trains_there.clear()
        fitted = imitate(
            a_policy(head).network,
            iter([batch] * 3),
            PolicyTrainerRecipe(steps=3, batch=4, warmup=1),
            torch.Generator().manual_seed(1),
        )
        losses.append(fitted.loss)
        assert bool(trains_there.uploads) == large
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert set(trains_there.waits) <= {
        "training/optimise.py: optimise", "training/optimise.py: fitted"
    }  # fmt: skip


def test_a_judge_judges_the_same_on_a_device(noted: Noted) -> None:
    rollouts = imagine(a_world("latent"), a_policy("bc"), starts(), horizon=4, replan_every=2,
                       seeds=[0, 1])  # fmt: skip
    expected = a_judge()(rollouts)
    judge = a_judge(DEVICE)
    noted.clear()
    found = judge(rollouts)
    for here, there in zip(expected, found, strict=True):
        assert there.probability == pytest.approx(here.probability, rel=1e-5)
    assert set(noted.waits) == JUDGES


def test_mixed_policies_act_on_a_device(noted: Noted) -> None:
    chunks = []
    for device in ("cpu", DEVICE):
        pair = [a_policy("diffusion"), a_policy("flow")]
        for policy in pair:
            policy.network.to(device)
        mixed = Composed(pair[0], pair[1], 0.5)
        mixed.reset(SPEC.tasks, [3, 4])
        noted.clear()
        chunks.append(mixed.act(seen()))
    np.testing.assert_allclose(chunks[0], chunks[1], atol=1e-5)
    assert set(noted.waits) == {"improve/compose.py: act"}


def test_a_search_runs_on_a_device(noted: Noted) -> None:
    chunks = []
    for device in ("cpu", DEVICE):
        policy, world = a_policy("flow"), a_world("latent").to(device)
        policy.network.to(device)
        recipe = SearchRecipe(candidates=3, lookahead=4, replan_every=2)
        searching = Searched(policy, world, a_judge(device), recipe)
        searching.reset(SPEC.tasks, [3, 4])
        noted.clear()
        chunks.append([searching.act(seen()), searching.act(seen())])
    np.testing.assert_allclose(chunks[0], chunks[1], atol=1e-4)
    assert set(noted.waits) <= ACTS | IMAGINES | JUDGES


@pytest.mark.parametrize("head", ["bc", "diffusion"])
def test_policy_gradients_learn_on_a_device(head: Head, noted: Noted) -> None:
    recipe = RlRecipe(epochs=1, minibatch=3, last_steps=2, bc=0.05, tune="all")
    moved = []
    for device in ("cpu", DEVICE):
        policy, world = a_policy(head), a_world("latent").to(device)
        policy.network.to(device)
        place = Simulation(world=world, judge=a_judge(device), horizon=4, replan_every=2, batch=4)
        learner = Learner(policy.network, deepcopy(policy.network), recipe, seed=0)
        noted.clear()
        experience = collect(place, policy, learner.actor, starts(), [3, 4])
        assert set(noted.waits) <= EXPLORES | IMAGINES | JUDGES
        noted.clear()
        learned = learner.learn(experience, policy_too=True)
        moved.append([learned.divergence, learned.cloning, learned.value_error])
        assert set(noted.waits) <= LEARNS
        assert learned.steps == 2
    assert moved[0] == pytest.approx(moved[1], rel=1e-3, abs=1e-5)
