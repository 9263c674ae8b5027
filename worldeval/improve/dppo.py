"""Policy gradients through denoising, inside the world model.

Ren et al., "Diffusion Policy Policy Optimization" (2024): the last denoising steps of a chunk are
actions of their own, all with the advantage of the environment step that they end in. Chandra et
al., "DiWA" (arXiv 2508.03645): entirely inside a frozen world model, rewarded by a success
classifier and kept close to the initial policy by a behaviour-cloning term. One network serves all
denoising steps, so the earlier steps change too, although they are not optimised.

What differs from DPPO's published code, which the settings in brackets restore:
- The ratio is that of a whole chunk's density, clipped at .2 for every step. There, log-ratios are
  averaged over the numbers of a chunk (`log_ratio: mean`), the clip grows from .001 to .01 along
  the chain (`clip_first: 0.001`, `clip: 0.01`), and every number's log-probability is clipped to
  -5..2 first (`log_prob_bounds: [-5, 2]`).
- Rewards are rises of a probability and stay as they are; there, they are divided by the running
  standard deviation of returns (`reward_scale: running`).
- A minibatch has whole chains; there, single denoising steps are drawn.
- Chains begin at DDIM's deterministic steps, the critic is a function of the world model's features
  and its loss is not clipped; advantages are standardised over all episodes of an iteration.
There is no correction for experience of other policies: each iteration imagines anew.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from worldeval.files import write_json
from worldeval.improve.doubt import Doubt
from worldeval.improve.experience import Experience, collect
from worldeval.improve.place import Judging, Simulation
from worldeval.improve.ppo import (
    RewardScale,
    clip_along,
    clipped,
    denoising_discount,
    divergence,
    gae,
    standardised,
)
from worldeval.improve.recipe import ETA, GAE, RlRecipe
from worldeval.improve.starts import Starts
from worldeval.improve.value import StateValue
from worldeval.improve.watch import DriftCheck, Watch
from worldeval.policy.checkpoint import LearnedPolicy, load
from worldeval.policy.finetune import keep
from worldeval.policy.heads.chain import (
    SUMMED,
    Actor,
    LogProbs,
    actor_of,
    choices,
    draw,
    log_probs,
)
from worldeval.policy.network import PolicyNetwork

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Learned:
    """Statistics of one iteration of learning."""

    value_error: float  # share of the returns' variance that the critic does not explain
    divergence: float  # from the policy that explored
    cloning: float  # from the initial policy: the behaviour-cloning term
    steps: int  # gradient steps of the policy


@dataclass(frozen=True, kw_only=True)
class Iteration:
    """Record of one iteration."""

    number: int
    imagined: float  # mean probability of success while exploring
    learned: Learned


@dataclass(frozen=True, kw_only=True)
class Improved:
    """The training history, and the selected policy."""

    policy: LearnedPolicy
    iterations: tuple[Iteration, ...]
    checks: tuple[DriftCheck, ...]
    stopped: str  # reason for stopping

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "stopped": self.stopped,
            "kept": self.policy.spec.name,
            "steps": sum(one.learned.steps for one in self.iterations),
            "iterations": [asdict(one) for one in self.iterations],
            "checks": [check.to_json() for check in self.checks],
        }


@dataclass(kw_only=True)
class Dppo:
    """One training run. `run` starts from a policy, which is not modified."""

    place: Simulation
    recipe: RlRecipe
    starts: Starts
    doubt: Doubt
    out: Path
    seed: int
    left_out: Judging | None = None  # a judge that takes no part in the optimisation
    say: Say = lambda text: None
    done: list[Iteration] = field(default_factory=list)
    watch: Watch = field(init=False)

    def __post_init__(self) -> None:
        self.watch = Watch(
            place=self.place,
            starts=self.starts.check,
            doubt=self.doubt,
            left_out=self.left_out,
            disagreement=self.recipe.disagreement,
            seed=self.seed,
            say=self.say,
        )

    def run(self, origin: LearnedPolicy) -> Improved:
        """Improve until the iterations end or the world model can no longer be trusted.

        Returns the checkpoint whose success was highest when its actions were replayed, and
        according to the judge that was left out.
        """
        recipe = self.recipe
        network = deepcopy(origin.network)
        learner = Learner(network, origin.network, recipe, seed=self.seed)
        policy = LearnedPolicy(network, origin.recipe, origin.sizes, origin.card)
        rng = np.random.default_rng([self.seed, 31])
        began = perf_counter()
        self._check(origin, 0, None)
        stopped = ""
        for number in range(1, recipe.iterations + 1):
            self.done.append(self._iterate(policy, learner, number, rng))
            if number % recipe.check_every and number != recipe.iterations:
                continue
            folder = self.out / "policies" / f"{origin.card.lineage}-rl" / f"step-{number}"
            stored = keep(
                folder,
                policy,
                network,
                lineage=f"{origin.card.lineage}-rl",
                step=number,
                note="policy gradients in imagination",
                loss=0.0,
                seconds=perf_counter() - began,
            )
            if stopped := self._check(stored, number, folder):
                break
        best = self.watch.best()
        return Improved(
            policy=origin if best.checkpoint is None else load(best.checkpoint),
            iterations=tuple(self.done),
            checks=tuple(self.watch.checks),
            stopped=stopped or "all iterations completed",
        )

    def _check(self, policy: LearnedPolicy, number: int, folder: Path | None) -> str:
        """Watch the policy and write what was seen; returns why training should end."""
        reason = self.watch.look(policy, number, folder)
        write_json(
            self.out / "iterations.json",
            {
                "iterations": [asdict(one) for one in self.done],
                "checks": [check.to_json() for check in self.watch.checks],
            },
        )
        return reason

    def _iterate(
        self, policy: LearnedPolicy, learner: "Learner", number: int, rng: np.random.Generator
    ) -> Iteration:
        tasks = len(dict.fromkeys(start.task for start in self.starts.training))
        drawn = self.starts.draw(-(-self.recipe.episodes // tasks), rng)
        seeds = rng.integers(2**31, size=len(drawn)).tolist()
        experience = collect(self.place, policy, learner.actor, drawn, seeds)
        # The critic is untrained at first, and its advantages would only add noise.
        learned = learner.learn(experience, policy_too=number > self.recipe.critic_warmup)
        seen = float(experience.probability.mean())
        return Iteration(number=number, imagined=seen, learned=learned)


class Learner:
    """Actor and critic, and one iteration of learning from experience."""

    def __init__(
        self, network: PolicyNetwork, origin: PolicyNetwork, recipe: RlRecipe, *, seed: int
    ) -> None:
        self.network, self.origin, self.recipe = network, origin, recipe
        last, floor = recipe.last_steps, recipe.floor
        self.actor: Actor = actor_of(network, last_steps=last, eta=ETA, floor=floor)
        self._teacher: Actor = actor_of(origin, last_steps=last, eta=ETA, floor=floor)
        tuned = network if recipe.tune == "all" else network.head
        self._policy_optimiser = torch.optim.Adam(tuned.parameters(), lr=recipe.learning_rate)
        self._critic: StateValue | None = None
        self._critic_optimiser: torch.optim.Optimizer | None = None
        self._generator = torch.Generator().manual_seed(seed)
        self._seed = seed
        bounds = recipe.log_prob_bounds
        self._how = LogProbs(
            mean=recipe.log_ratio == "mean", bounds=(bounds[0], bounds[1]) if bounds else None
        )
        self._clip = clip_along(
            self.actor.decisions, first=recipe.clip_first or recipe.clip, last=recipe.clip
        ).to(network.device)
        self._scale = RewardScale(recipe.gamma) if recipe.reward_scale == "running" else None

    def learn(self, experience: Experience, *, policy_too: bool) -> Learned:
        """Train epochs over minibatches; with `policy_too` false, only the critic learns."""
        recipe = self.recipe
        critic, optimiser = self._ready(experience)
        with torch.no_grad():
            value = critic(experience.state)
        reward = experience.reward if self._scale is None else self._scale(experience.reward)
        advantage = gae(reward, value, gamma=recipe.gamma, smoothing=GAE)
        returns = (advantage + value).flatten()
        unexplained = float((returns - value.flatten()).var() / returns.var().clamp_min(1e-8))
        weighed = standardised(advantage.flatten())
        taught = self._taught(experience) if policy_too and recipe.bc else None
        before = self._before(experience) if policy_too else experience.log_prob
        state, moved, steps = experience.state.flatten(0, 1), 0.0, 0
        cloning, going = torch.zeros(()), policy_too
        for _ in range(recipe.epochs):
            order = torch.randperm(len(weighed), generator=self._generator).to(weighed.device)
            for rows in order.split(recipe.minibatch):
                error = (critic(state[rows]) - returns[rows]).square().mean()
                optimiser.zero_grad(set_to_none=True)
                error.backward()
                optimiser.step()
                if going:
                    moved, cloning = self._step(experience, before, weighed, taught, rows)
                    steps += 1
                    going = moved <= recipe.target_kl
        return Learned(
            value_error=unexplained, divergence=moved, cloning=float(cloning), steps=steps
        )

    def _step(
        self,
        experience: Experience,
        before: Float[Tensor, "n m"],
        advantage: Float[Tensor, " n"],
        taught: Float[Tensor, "n links ka"] | None,
        rows: Int[Tensor, " r"],
    ) -> tuple[float, Tensor]:
        """Take one gradient step of the policy; returns its divergence and the cloning term."""
        recipe = self.recipe
        feature = experience.feature[rows]
        if recipe.tune == "all":
            feature = self.network.encoder(*(part[rows] for part in experience.seen))
        loss, moved = surrogate(
            self.actor,
            experience.links[rows],
            before[rows],
            advantage[rows],
            feature,
            clip=self._clip,
            gamma_denoising=recipe.gamma_denoising,
            how=self._how,
        )
        cloning = torch.zeros(())
        if taught is not None:
            cloning = cloning_loss(self.actor, taught[rows], feature)
        self._policy_optimiser.zero_grad(set_to_none=True)
        (loss + recipe.bc * cloning).backward()
        self._policy_optimiser.step()
        return moved, cloning.detach()

    @torch.no_grad()
    def _before(self, experience: Experience) -> Float[Tensor, "n m"]:
        """Log-probabilities of the policy that explored, which has not learned since."""
        if self._how == SUMMED:
            return experience.log_prob
        return log_probs(self.actor, experience.links, experience.feature, self._how)

    @torch.no_grad()
    def _taught(self, experience: Experience) -> Float[Tensor, "n links ka"]:
        """Sample what the initial policy would have done at every call."""
        feature = experience.feature
        if self.recipe.tune == "all":
            feature = self.origin.encoder(*experience.seen)
        return draw(self._teacher, feature, self._generator)[0]

    def _ready(self, experience: Experience) -> tuple[StateValue, torch.optim.Optimizer]:
        if self._critic is None or self._critic_optimiser is None:
            with torch.random.fork_rng():
                torch.manual_seed(self._seed)
                self._critic = StateValue(experience.state.shape[-1]).to(experience.state.device)
            self._critic.fit_normaliser(experience.state.flatten(0, 1))
            self._critic_optimiser = torch.optim.Adam(
                self._critic.parameters(), lr=self.recipe.critic_rate
            )
        return self._critic, self._critic_optimiser


def surrogate(
    actor: Actor,
    links: Float[Tensor, "n links ka"],
    before: Float[Tensor, "n m"],
    advantage: Float[Tensor, " n"],
    feature: Float[Tensor, "n d"],
    *,
    clip: float | Float[Tensor, " m"],
    gamma_denoising: float,
    how: LogProbs = SUMMED,
) -> tuple[Float[Tensor, ""], float]:
    """Return the clipped loss over every denoising step, and the actor's divergence.

    `before` are the log-probabilities of the actor that drew the chains, taken in the same way
    (`how`).
    """
    now = log_probs(actor, links, feature, how)
    discount = denoising_discount(actor.decisions, gamma_denoising).to(advantage)
    loss = clipped(now, before, advantage[:, None] * discount, clip)
    return loss, divergence(now, before)


def cloning_loss(
    actor: Actor, taught: Float[Tensor, "n links ka"], feature: Float[Tensor, "n d"]
) -> Float[Tensor, ""]:
    """The negative log-probability of the teacher's chains, averaged over denoising steps.

    It is summed over the numbers of a chunk, as are the log-probabilities in the policy's ratio.
    Code derived from DPPO averages both; DiWA's weight of .05 is assumed to mean a common scale.
    """
    every = choices(actor, taught, feature)
    logs = [one.log_prob(taught[:, i + 1]).mean() for i, one in enumerate(every)]
    return -torch.stack(logs).mean()
