"""Policy gradients through denoising: on problems whose answer is known, then on the dot."""

from pathlib import Path as Folder

import numpy as np
import pytest
import torch
from torch import nn

from tests.improve.conftest import DotJudge, DotWorld, start
from worldeval.improve.doubt import Doubt, disturbed
from worldeval.improve.dppo import Dppo, Learner, cloning_loss, surrogate
from worldeval.improve.experience import collect, rewards
from worldeval.improve.features import Tapped
from worldeval.improve.place import Simulation
from worldeval.improve.ppo import clip_along
from worldeval.improve.recipe import RlRecipe
from worldeval.improve.starts import Starts
from worldeval.improve.watch import DriftCheck
from worldeval.policy.checkpoint import LearnedPolicy, load
from worldeval.policy.heads.chain import DenoisingActor, LogProbs, actor_of, draw, log_probs
from worldeval.policy.heads.denoise import DenoisingHead
from worldeval.policy.heads.flow import straight
from worldeval.stats import rate


class Constant(DenoisingHead):
    """Expects the same clean number behind everything: chunks end at it, but for the noise."""

    def __init__(self, value: float, steps: int = 4) -> None:
        super().__init__(width=1, hidden=1, target=1)
        self.path = straight(torch.arange(steps + 1) / steps)
        self.value = nn.Parameter(torch.tensor(value))

    def clean_at(self, x, time, signal, noise, feature):
        return self.value.expand(len(x), 1)

    def path_like(self, other):
        return other


def test_the_gradient_is_that_of_the_expected_reward() -> None:
    """Chunks end at the value plus noise of the floor, so E[-(x - 1)^2] has gradient -2 (v - 1)."""
    head, count = Constant(0.2), 200_000
    actor = DenoisingActor(head, last_steps=3, eta=1.0, floor=0.1)
    feature = torch.zeros(count, 1)
    with torch.no_grad():
        links, before = draw(actor, feature, torch.Generator().manual_seed(0))
    final = links[:, -1, 0]
    assert final.mean() == pytest.approx(0.2, abs=1e-3)
    assert final.std() == pytest.approx(0.1, abs=1e-3)
    earned = -((final - 1.0) ** 2)
    loss, moved = surrogate(
        actor, links, before, earned - earned.mean(), feature, clip=0.2, gamma_denoising=1.0
    )
    loss.backward()
    assert moved == 0
    assert head.value.grad is not None
    # The loss is a mean over the three decisions, and is minimised.
    assert -3 * head.value.grad.item() == pytest.approx(-2 * (0.2 - 1.0), rel=0.1)


def test_the_known_optimum_is_found() -> None:
    head = Constant(-0.5)
    actor = DenoisingActor(head, last_steps=4, eta=1.0, floor=0.1)
    optimiser = torch.optim.Adam(head.parameters(), lr=0.05)
    feature, generator = torch.zeros(256, 1), torch.Generator().manual_seed(0)
    for _ in range(60):
        with torch.no_grad():
            links, before = draw(actor, feature, generator)
        earned = -((links[:, -1, 0] - 0.6) ** 2)
        advantage = (earned - earned.mean()) / earned.std()
        for _ in range(3):
            loss, _ = surrogate(
                actor, links, before, advantage, feature, clip=0.2, gamma_denoising=0.99
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    assert head.value.item() == pytest.approx(0.6, abs=0.05)


def test_the_cloning_term_pulls_back() -> None:
    head, teacher = Constant(0.8), Constant(0.2)
    how = {"last_steps": 2, "eta": 1.0, "floor": 0.1}
    actor, taught = DenoisingActor(head, **how), DenoisingActor(teacher, **how)
    feature = torch.zeros(500, 1)
    with torch.no_grad():
        links, _ = draw(taught, feature, torch.Generator().manual_seed(0))
    away = cloning_loss(actor, links, feature)
    away.backward()
    assert head.value.grad is not None and head.value.grad > 0
    assert cloning_loss(taught, links, feature) < away


def test_rewards_are_the_rise_of_the_highest_probability() -> None:
    highest = np.array([[0.1], [0.1], [0.4], [0.4], [0.9], [0.9]], np.float32)
    found = rewards(highest, every=2)
    assert found[:, 0].tolist() == pytest.approx([0.3, 0.5, 0.0])
    assert rewards(highest, every=3)[:, 0].tolist() == pytest.approx([0.3, 0.5])


def test_experience_is_what_happened(place: Simulation, undecided: LearnedPolicy, starts) -> None:
    actor = actor_of(undecided.network, last_steps=3, eta=1.0, floor=0.1)
    seeds = list(range(len(starts)))
    found = collect(place, undecided, actor, starts, seeds)
    calls, episodes = place.horizon // 2, len(starts)
    assert found.reward.shape == (calls, episodes)
    assert found.links.shape[:2] == (calls * episodes, 4)
    assert found.state.shape == (calls, episodes, 2 * 3 * 16 * 16 + 4 + 2 + 1)
    assert found.state[:, 0, -1].tolist() == pytest.approx([0, 0.25, 0.5, 0.75])
    assert found.state[:, 0, -3:-1].tolist() == [[1, 0]] * calls  # the task 'left'
    # All that is earned is what the judge says at the end, less what the start gave.
    gained = found.probability - found.reward.sum(0)
    torch.testing.assert_close(gained, torch.full((episodes,), 0.02))


def test_an_undecided_policy_learns_its_task_by_gradients(
    trained, place: Simulation, tmp_path: Folder
) -> None:
    origin = load(trained("flow"))
    every = [
        tuple(start(task, first + n) for task in ("left", "right") for n in range(count))
        for first, count in ((0, 16), (100, 16), (200, 4))
    ]
    run = Dppo(
        place=place,
        recipe=RlRecipe(
            iterations=12,
            episodes=32,
            check_every=6,
            critic_warmup=1,
            learning_rate=1e-3,
            minibatch=64,
            target_kl=1.0,
            floor=0.3,
            bc=0.01,
            tune="head",
        ),
        starts=Starts(training=every[0], check=every[1], held_out=every[2]),
        doubt=Doubt(place=place, disturbance=0.0),
        out=tmp_path,
        seed=0,
    )
    done = run.run(origin)
    first, *_, last = done.checks
    assert first.imagined.value is not None and last.imagined.value is not None
    assert last.imagined.value > first.imagined.value + 0.1
    assert done.policy.spec.name in {"dot-flow-rl/step-6", "dot-flow-rl/step-12"}
    # In a world that does not err, what was imagined comes again.
    assert all(check.gap == pytest.approx(0, abs=0.02) for check in done.checks)
    assert (tmp_path / "iterations.json").is_file()


def test_success_that_does_not_come_again_ends_it(
    trained, place: Simulation, tmp_path: Folder
) -> None:
    origin = load(trained("flow"))
    sets = tuple(tuple(start("left", n) for n in range(4)) for _ in range(3))
    doubt = Doubt(place=place, disturbance=0.0)
    run = Dppo(
        place=place,
        recipe=RlRecipe(iterations=6, episodes=4, check_every=1, critic_warmup=9, disagreement=0.1),
        starts=Starts(training=sets[0], check=sets[1], held_out=sets[2]),
        doubt=doubt,
        out=tmp_path,
        seed=0,
    )
    gaps = iter([0.0, 0.05, 0.3])
    run.watch.look = lambda policy, number, folder: _noted(run, number, folder, next(gaps))  # type: ignore[method-assign]
    done = run.run(origin)
    assert len(done.iterations) == 2
    assert "at iteration 2, imagined success exceeds" in done.stopped


def _noted(run: Dppo, number: int, folder: Folder | None, gap: float) -> str:
    check = DriftCheck(
        iteration=number, imagined=rate(5, 10), again=0.5 - gap, gap=gap, checkpoint=folder
    )
    run.watch.checks.append(check)
    return run.watch.reason(check)


def test_a_world_that_errs_is_found_out(place: Simulation, undecided: LearnedPolicy) -> None:
    """The first world drifts to the left, where success lies; the second does not."""
    erring = Simulation(world=DotWorld(drift=0.06), judge=DotJudge(), horizon=8, replan_every=2)
    attempts = erring.compared(undecided, [start("left", n) for n in range(8)], seed=0)
    assert Doubt(place=erring, second=DotWorld()).gap(attempts) > 0.1
    assert Doubt(place=erring, second=erring.world).gap(attempts) == pytest.approx(0)


def test_disturbed_pictures_stay_pictures() -> None:
    one = start("left", 0)
    noisy = disturbed(one, 6.0, np.random.default_rng(0)).frames["side"]
    assert noisy.dtype == np.uint8
    assert 3 < np.abs(noisy.astype(int) - one.frames["side"]).mean() < 8


def test_a_worlds_own_features_come_first() -> None:
    class Featured(DotWorld):
        def features(self, state):
            return torch.from_numpy(state[:, :2]).double()

    world = Tapped(Featured())
    one = start("left", 0)
    state = world.begin({}, one.pose[None], ["left"], [0])
    world.step(state, np.full((1, 8), 0.5, np.float32))
    assert [noted.shape for noted in world.noted] == [(1, 2), (1, 2)]
    assert world.noted[1][0].tolist() == pytest.approx([0.05, 0.05])
    assert Tapped(DotWorld()).spec == DotWorld().spec


def test_the_published_surrogate_has_the_gradient_worked_out_by_hand() -> None:
    """Two decisions of a chunk of one number, on the straight path through 1/4, 1/2, 3/4 and 1.

    A step from signal a, noise b to a', b' with the floor's deviation has the mean
    a' v + b' (x - a v) / b, whose slope in the value v is a' - b' a / b. The derivative of the
    log-density is the slope times (next - mean) / std^2, and the ratio is 1.
    """
    head = Constant(0.4)
    actor = DenoisingActor(head, last_steps=2, eta=0.0, floor=0.5)
    links, feature = torch.tensor([[[0.1], [0.3], [0.9]]]), torch.zeros(1, 1)
    how, weight = LogProbs(mean=True), torch.tensor([2.0])  # the advantage
    with torch.no_grad():
        before = log_probs(actor, links, feature, how)
    loss, _ = surrogate(
        actor, links, before, weight, feature,
        clip=clip_along(2, first=0.001, last=0.01), gamma_denoising=0.9, how=how,
    )  # fmt: skip
    loss.backward()
    slopes = []
    for x, after, a, a_next in ((0.1, 0.3, 0.5, 0.75), (0.3, 0.9, 0.75, 1.0)):
        b, b_next = 1 - a, 1 - a_next
        mean = a_next * 0.4 + b_next * (x - a * 0.4) / b
        slopes.append((a_next - b_next * a / b) * (after - mean) / 0.5**2)
    expected = -2.0 * (0.9 * slopes[0] + slopes[1]) / 2  # the first decision is discounted
    assert head.value.grad is not None
    assert head.value.grad.item() == pytest.approx(expected, rel=1e-4)


def test_log_probabilities_are_averaged_and_clipped_as_published() -> None:
    class Wide(Constant):
        def clean_at(self, x, time, signal, noise, feature):
            return self.value.expand(len(x), x.shape[1])

    head = Wide(0.0)
    actor = DenoisingActor(head, last_steps=1, eta=0.0, floor=1.0)
    links = torch.tensor([[[0.0, 0.0], [1.0, 9.0]]])
    plain = -0.5 * np.log(2 * np.pi)
    logs = plain - 0.5, plain - 40.5
    feature = torch.zeros(1, 1)
    assert log_probs(actor, links, feature).item() == pytest.approx(sum(logs))
    found = log_probs(actor, links, feature, LogProbs(mean=True, bounds=(-5.0, 2.0)))
    assert found.item() == pytest.approx((logs[0] - 5) / 2)


def test_policy_gradients_run_as_published(trained, place: Simulation, tmp_path: Folder) -> None:
    origin = load(trained("flow"))
    learner = Learner(
        origin.network,
        load(trained("flow")).network,
        RlRecipe(
            log_ratio="mean", clip_first=0.001, clip=0.01, log_prob_bounds=(-5.0, 2.0),
            reward_scale="running", epochs=1, minibatch=16, floor=0.3,
        ),
        seed=0,
    )  # fmt: skip
    starts = [start("left", n) for n in range(8)]
    experience = collect(place, origin, learner.actor, starts, list(range(8)))
    learned = learner.learn(experience, policy_too=True)
    assert learned.steps == 2 and learned.divergence >= 0
