"""Guidance, edits and soft actor-critic: against answers worked out by hand, then on the dot."""

from pathlib import Path as Folder

import pytest
import torch
from torch import nn

from tests.improve.conftest import start
from tests.improve.test_pa import CRITIC, EXPLORE, Hill, run_of
from tests.support.toy import TASKS
from worldeval.improve.critic import CriticLearner, QCritic
from worldeval.improve.critic_recipe import CriticRecipe
from worldeval.improve.expo import Edit, Expo
from worldeval.improve.offpolicy_recipe import ExpoRecipe, QgfRecipe, SacRecipe, SoftRecipe
from worldeval.improve.place import Simulation
from worldeval.improve.qgf import Guide, QGuided
from worldeval.improve.sac import Sac
from worldeval.improve.soft import SoftLearner, SquashedGaussian
from worldeval.improve.units import ChunkUnits
from worldeval.improve.valued import restore, state_size
from worldeval.policy.checkpoint import load
from worldeval.policy.heads.bc import BcHead
from worldeval.policy.heads.diffusion import DiffusionHead
from worldeval.policy.heads.flow import FlowHead

NOWHERE = torch.zeros(4, 1)  # a state, of four rows
# Chunks of two frames with one number each, of which the first is executed.
UNITS = ChunkUnits(
    chunk=2,
    executed=1,
    mean=torch.zeros(1),
    scale=torch.ones(1),
    low=torch.full((1,), -2.0),
    high=torch.full((1,), 2.0),
)


class Slope(QCritic):
    """A critic whose value rises by `by` with every number."""

    def __init__(self, by: float) -> None:
        super().__init__(1, 1, CriticRecipe(hidden=2))
        self.by = by

    def value(self, state, action):
        return self.by * action.sum(-1)


def drawn(decide: Guide) -> torch.Tensor:
    return decide(NOWHERE, torch.zeros(4, 1), torch.Generator().manual_seed(0))


@pytest.mark.parametrize("steps", [1, 5])
def test_guided_flow_adds_the_gradient_to_the_velocity(steps: int) -> None:
    """With a constant gradient g, T steps of (v + w g) / T end w g further than without."""
    torch.manual_seed(0)
    head = FlowHead(1, 8, 2, steps)
    for layer in head.modules():
        if isinstance(layer, nn.Linear):  # so that the velocity does not depend on the chunk
            nn.init.zeros_(layer.weight)
    plain = head.act(torch.zeros(4, 1), torch.Generator().manual_seed(0))
    found = drawn(Guide(head, Slope(0.3), UNITS, weight=2.0, steps=1))
    torch.testing.assert_close(found[:, 0], plain[:, 0] + 0.6)
    torch.testing.assert_close(found[:, 1], plain[:, 1])  # is not executed


@pytest.mark.parametrize("kind", ["flow", "diffusion", "bc"])
def test_guidance_of_no_weight_changes_nothing_and_more_raises_the_value(kind: str) -> None:
    torch.manual_seed(0)
    heads = {
        "flow": lambda: FlowHead(1, 8, 2, 4),
        "diffusion": lambda: DiffusionHead(1, 8, 2, levels=20, steps=4),
        "bc": lambda: BcHead(1, 8, 2, "l1"),
    }
    head = heads[kind]()
    plain = head.act(torch.zeros(4, 1), torch.Generator().manual_seed(0))
    torch.testing.assert_close(drawn(Guide(head, Hill(1.0), UNITS, weight=0, steps=3)), plain)
    found = drawn(Guide(head, Hill(1.0), UNITS, weight=0.3, steps=3))
    value = [Hill(1.0).value(NOWHERE, each[:, :1]) for each in (plain, found)]
    assert value[1].mean() > value[0].mean() + 0.1


def test_the_density_of_a_squashed_sample_is_torchs() -> None:
    torch.manual_seed(0)
    actor = SquashedGaussian(1, 2, 8, std=0.7)
    nn.init.normal_(actor.mean.weight)
    state, given, noise = torch.randn(5, 1), torch.randn(5, 2), torch.randn(5, 2)
    found, log_prob = actor.sample(state, given, None, noise)
    mean, std = actor(state, given)
    known = torch.distributions.TransformedDistribution(
        torch.distributions.Normal(mean, std), torch.distributions.TanhTransform(cache_size=1)
    )
    torch.testing.assert_close(log_prob, known.log_prob(found).sum(-1), rtol=1e-3, atol=1e-3)


def test_an_actor_begins_at_its_anchor() -> None:
    actor = SquashedGaussian(1, 2, 8, std=0.2)
    anchor = torch.tensor([[0.3, -0.9], [2.0, 0.0]])
    mean, std = actor(torch.randn(2, 1), anchor, anchor)
    torch.testing.assert_close(mean.tanh(), torch.tensor([[0.3, -0.9], [0.95, 0.0]]))
    torch.testing.assert_close(std, torch.full((2, 2), 0.2))


def trained(learner: SoftLearner, value, *, steps: int) -> tuple[float, float]:
    """Train an actor of one number without a state; returns its mean and deviation."""
    zero, generator = torch.zeros(128, 1), torch.Generator().manual_seed(0)
    for _ in range(steps):
        noise = torch.randn(128, 1, generator=generator)
        learner.step(value, zero, zero, None, noise)
    mean, std = learner.actor(zero[:1], zero[:1])
    return mean.item(), std.item()


def test_the_actor_finds_the_known_optimum_of_value_and_entropy() -> None:
    """For Q = -(u - .2)^2 and temperature a, exp(Q / a) is a Gaussian of deviation sqrt(a / 2)."""
    recipe = SoftRecipe(hidden=16, actor_rate=0.01, temperature=0.02, std=0.4)
    learner = SoftLearner(SquashedGaussian(1, 1, 16, std=0.4), recipe)
    mean, std = trained(learner, lambda u: -(u[:, 0] - 0.2).square(), steps=250)
    assert mean == pytest.approx(0.2, abs=0.04)
    assert std == pytest.approx(0.1, rel=0.2)


def test_the_temperature_follows_the_entropy_that_is_asked_for() -> None:
    """The entropy of a Gaussian is log(std) + 1.42: with a deviation of .1, about -.88."""
    wanted = SoftRecipe(hidden=16, actor_rate=0.01, temperature=0.002, std=0.4, entropy=-0.88)
    learner = SoftLearner(SquashedGaussian(1, 1, 16, std=0.4), wanted)
    _, std = trained(learner, lambda u: -u[:, 0].square(), steps=500)
    assert std == pytest.approx(0.1, rel=0.3)
    assert float(learner.alpha) == pytest.approx(0.02, rel=0.6)


SETTINGS = {
    "sac": {},
    "normalised, two-hot": {"head": "two-hot", "atoms": 21, "target": "mean"},
    "truncated": {"head": "quantile", "atoms": 5, "target": "truncated", "dropped": 1},
    "plain": {"normalised": False},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_critic_and_actor_find_the_best_arm(name: str) -> None:
    """One step, and the reward is 1 - ((u - .5) / 1.5)^2, from 0 to 1."""
    recipe = CriticRecipe(hidden=32, learning_rate=5e-3, batch=64, **SETTINGS[name])
    critic = CriticLearner(1, 1, recipe, seed=0)
    generator = torch.Generator().manual_seed(0)
    zero, none = torch.zeros(64, 1), torch.zeros(64)
    for _ in range(250):
        u = torch.rand(64, 1, generator=generator) * 2 - 1
        target = critic.targets(1 - ((u[:, 0] - 0.5) / 1.5).square(), none, zero, u)
        critic.step(zero, u, target)
    soft = SoftRecipe(hidden=16, actor_rate=0.02, temperature=1e-3, std=0.3)
    learner = SoftLearner(SquashedGaussian(1, 1, 16, std=0.3), soft)
    at = torch.zeros(128, 1)
    mean, _ = trained(learner, lambda u: critic.critic.value(at, u), steps=100)
    assert torch.tensor(mean).tanh().item() == pytest.approx(0.5, abs=0.15)


@pytest.mark.parametrize(("pessimism", "likes_risk"), [(0.0, True), (0.5, False)])
def test_aleatoric_pessimism_leaves_the_risky_arm(pessimism: float, likes_risk: bool) -> None:
    """The safe arm gives .5. The risky one gives 0 or 1.2: .6 on average, deviating by .6."""
    recipe = CriticRecipe(
        members=1, hidden=32, learning_rate=5e-3, head="quantile", atoms=8, target="mean",
        bounds=(0.0, 1.2), pessimism=pessimism,
    )  # fmt: skip
    critic = CriticLearner(1, 1, recipe, seed=0)
    generator = torch.Generator().manual_seed(0)
    risky = torch.arange(64) % 2 == 1
    action, zero, none = torch.where(risky, 1.0, -1.0)[:, None], torch.zeros(64, 1), torch.zeros(64)
    for _ in range(200):
        coin = (torch.rand(64, generator=generator) < 0.5).float()
        reward = torch.where(risky, 1.2 * coin, torch.tensor(0.5))
        critic.step(zero, action, critic.targets(reward, none, zero, action))
    safe, risk = (critic.critic.value(zero[:1], torch.tensor([[u]])).item() for u in (-1.0, 1.0))
    assert (risk > safe) == likes_risk


def test_edits_are_bounded_and_the_best_of_all_is_taken() -> None:
    torch.manual_seed(0)
    actor, recipe = SquashedGaussian(1, 1, 8, std=0.3), ExpoRecipe(reach=0.25, samples=3)
    nn.init.constant_(actor.mean.bias, 9.0)  # always the largest edit upwards
    edit = Edit(FlowHead(1, 8, 2, 2), Hill(2.0), actor, UNITS, recipe)
    chunks = torch.tensor([[[0.0], [0.5]], [[1.9], [-1.0]]])
    every = edit.candidates(torch.zeros(2, 1), chunks, None)
    expected = torch.tensor([[[0.0], [0.5], [0.25], [0.75]], [[1.9], [-1.0], [2.0], [-0.75]]])
    torch.testing.assert_close(every, expected, atol=1e-4, rtol=0)
    generator = torch.Generator().manual_seed(0)
    found = edit(NOWHERE, torch.zeros(4, 1), generator)
    generator.manual_seed(0)
    samples = torch.stack([edit.head.act(torch.zeros(4, 1), generator) for _ in range(3)], 1)
    best = UNITS.bounded(samples[..., :1]).max(1).values
    torch.testing.assert_close(found[:, :1], UNITS.bounded(best + 0.25), atol=1e-4, rtol=0)
    assert (samples == found[:, None]).any(1)[:, 1].all()  # the rest is that of a sample


COMMON = {"iterations": 3, "episodes": 32, "critic_steps": 80, "explore": EXPLORE}
COMMON |= {"disagreement": 0.5}
ACTOR = {"hidden": 48, "actor_rate": 2e-3, "actor_steps": 80, "temperature": 0.003}


@pytest.mark.parametrize("verb", ["qgf", "expo", "sac"])
def test_an_undecided_policy_is_told_its_task_by_value(
    trained, place: Simulation, verb: str, tmp_path: Folder
) -> None:
    origin = load(trained("flow"))
    qgf = QgfRecipe(critic=CRITIC, samples=2, weights=(5.0, 20.0), tuning=8, **COMMON)
    expo = ExpoRecipe(critic=CRITIC, samples=3, reach=0.6, **COMMON, **ACTOR)
    wide = CriticRecipe(hidden=48, learning_rate=2e-3, average=0.95, batch=128, calls=2,
                        bounds=(-1.0, 2.0))  # fmt: skip
    sac = SacRecipe(critic=wide, **COMMON, **ACTOR)
    recipe = {"qgf": qgf, "expo": expo, "sac": sac}[verb]
    run = run_of(place, recipe, tmp_path)
    methods = {
        "qgf": lambda: QGuided(origin, qgf, place=place, starts=run.starts, seed=0),
        "expo": lambda: Expo(origin, expo, place=place, seed=0),
        "sac": lambda: Sac(origin, sac, place=place, seed=0),
    }
    method = methods[verb]()
    done = run.run(origin, method)
    best = max(done.checks, key=lambda check: check.pessimistic)
    assert best.pessimistic > done.checks[0].pessimistic + 0.15
    assert done.policy.spec.name == f"dot-flow-{verb}/step-{best.iteration}"
    # What was stored is what was judged.
    assert done.checkpoint is not None and state_size(done.checkpoint) == 2 * 3 * 256 + 4 + 2 + 1
    decide = done.policy._decide  # type: ignore[attr-defined]
    critic = QCritic(state_size(done.checkpoint), method.units.size, recipe.critic)
    restore(done.checkpoint, {"critic": critic})
    if verb != "sac":
        kept = dict(decide.critic.named_parameters())
        assert all(torch.equal(value, kept[name]) for name, value in critic.named_parameters())
    starts = [start(task, n) for task in TASKS for n in range(2)]
    first, second = (place.compared(done.policy, starts, seed=5) for _ in range(2))
    for one, two in zip(first, second, strict=True):
        assert (one.rollout.actions == two.rollout.actions).all()  # and it is reproducible
