"""The loop of off-policy improvement: imagine, remember, learn a critic, improve, watch.

Methods differ in what they learn from the memory and the critic (`Method`): `pa` trains the policy
itself, `qgf` nothing, `expo` a policy of edits and `sac` a Gaussian policy.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from worldeval.data.table import RecordedEpisodes
from worldeval.files import write_json
from worldeval.improve.critic import CriticLearner, QCritic
from worldeval.improve.explore import exploring
from worldeval.improve.memory import ChunkRecorder, Memory, joined
from worldeval.improve.offpolicy_recipe import OffPolicyRecipe
from worldeval.improve.place import Simulation
from worldeval.improve.proposals import proposals
from worldeval.improve.starts import Starts
from worldeval.improve.units import ChunkUnits, units_of
from worldeval.improve.watch import DriftCheck, Watch
from worldeval.policy.checkpoint import LearnedPolicy
from worldeval.policy.protocol import Policy
from worldeval.world.protocol import WorldModel

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True, eq=False)
class ProposedChunks:
    """A memory with chunks that the policy proposes now, the first its own."""

    memory: Memory
    chunks: Float[Tensor, "n m ka"]  # standardised

    def rows(self, size: int, rng: np.random.Generator) -> Tensor:
        """Draw transitions."""
        return torch.from_numpy(rng.integers(len(self.memory), size=size))


@runtime_checkable
class Method(Protocol):
    """What distinguishes one way of off-policy improvement from another."""

    base: LearnedPolicy  # that proposes chunks

    def policy(self) -> Policy:
        """The policy as it is now."""
        ...

    def learn(self, proposed: ProposedChunks, rng: np.random.Generator) -> Mapping[str, float]:
        """Learn from the memory, with the critic; returns what is worth recording."""
        ...

    def keep(self, folder: Path, number: int) -> Policy:
        """Write the policy as it is now, and return it as it was written."""
        ...


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The training history, and the selected policy."""

    policy: Policy
    checkpoint: Path | None  # None: the initial policy
    iterations: tuple[Mapping[str, float], ...]
    checks: tuple[DriftCheck, ...]
    stopped: str  # reason for stopping

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "stopped": self.stopped,
            "kept": self.policy.spec.name,
            "steps": int(sum(one.get("steps", 0) for one in self.iterations)),
            "iterations": [dict(one) for one in self.iterations],
            "checks": [check.to_json() for check in self.checks],
        }


@dataclass(kw_only=True)
class OffPolicy:
    """One run. The initial policy is not modified."""

    place: Simulation
    recipe: OffPolicyRecipe
    starts: Starts
    watch: Watch
    out: Path
    seed: int
    recorded: RecordedEpisodes | None = None  # whose episodes the training starts come from
    second: WorldModel | None = None
    say: Say = lambda text: None
    done: list[Mapping[str, float]] = field(default_factory=list)

    def run(self, origin: LearnedPolicy, method: Method) -> Outcome:
        """Improve until the iterations end or a guard objects; keeps the best that none objects to.

        "Best" is by the verdicts that were not optimised (see `Watch`).
        """
        recipe, units = self.recipe, units_of(origin.network, replan_every=self.place.replan_every)
        rng = np.random.default_rng([self.seed, 37])
        recorder = ChunkRecorder(
            place=self.place,
            policy=origin,
            units=units,
            calls=recipe.critic.calls,
            gamma=recipe.critic.gamma,
            second=self.second,
        )
        replayed, parts = self._replayed(recorder, rng), []
        found: dict[Path | None, Policy] = {None: origin}
        self._look(origin, 0, None)
        stopped = ""
        for number in range(1, recipe.iterations + 1):
            acting = exploring(method.policy(), recipe.explore, self.place.world.spec)
            tasks = len(dict.fromkeys(start.task for start in self.starts.training))
            drawn = self.starts.draw(-(-recipe.episodes // tasks), rng)
            seeds = rng.integers(2**31, size=len(drawn)).tolist()
            fresh = recorder.imagined(acting, drawn, seeds)
            parts = [*parts, fresh][-recipe.kept :]
            memory = joined([*replayed, *parts])
            drafts = proposals(
                method.base,
                units,
                memory.demos,
                memory.rows,
                count=recipe.samples,
                noise=recipe.noise,
                rng=rng,
            )
            learned = method.learn(ProposedChunks(memory=memory, chunks=drafts.cpu()), rng)
            seen = float(fresh.probability.mean())
            self.done.append({"number": number, "imagined": seen, **learned})
            if number % recipe.check_every and number != recipe.iterations:
                continue
            lineage = f"{origin.card.lineage}-{recipe.suffix}"
            folder = self.out / "policies" / lineage / f"step-{number}"
            found[folder] = method.keep(folder, number)
            if stopped := self._look(found[folder], number, folder):
                break
        best = self.watch.best()
        return Outcome(
            policy=found[best.checkpoint],
            checkpoint=best.checkpoint,
            iterations=tuple(self.done),
            checks=tuple(self.watch.checks),
            stopped=stopped or "all iterations completed",
        )

    def _replayed(self, recorder: ChunkRecorder, rng: np.random.Generator) -> list[Memory]:
        """Recorded episodes of the training starts, replayed from where those begin."""
        if self.recorded is None or not self.recipe.recorded:
            return []
        return [recorder.recorded(self.recorded, self.starts.draw(self.recipe.recorded, rng))]

    def _look(self, policy: Policy, number: int, folder: Path | None) -> str:
        reason = self.watch.look(policy, number, folder)
        checks = [check.to_json() for check in self.watch.checks]
        content = {"iterations": [dict(one) for one in self.done], "checks": checks}
        write_json(self.out / "iterations.json", content)
        return reason


class Valuing:
    """The critic of a run, made when the first memory tells how large a state is."""

    def __init__(self, recipe: OffPolicyRecipe, units: ChunkUnits, *, seed: int) -> None:
        self.recipe, self.units, self._seed = recipe, units, seed
        self._learner: CriticLearner | None = None

    @property
    def critic(self) -> QCritic:
        """The critic as it is now. Raises ValueError before the first memory."""
        if self._learner is None:
            raise ValueError("the critic has learned nothing yet")
        return self._learner.critic

    def ready(self, memory: Memory) -> CriticLearner:
        """The learner, whose normaliser is that of the first memory."""
        if self._learner is None:
            self._learner = CriticLearner(
                memory.state.shape[1], self.units.size, self.recipe.critic, seed=self._seed
            )
            self._learner.fit_normaliser(memory.state)
        return self._learner

    def learn(self, proposed: ProposedChunks, rng: np.random.Generator) -> dict[str, float]:
        """Fit the critic to the memory, with the policy's proposals as next actions."""
        self.ready(proposed.memory)
        losses = []
        for _ in range(self.recipe.critic_steps):
            rows = proposed.rows(self.recipe.critic.batch, rng)
            after = proposed.memory.after[rows]
            state = proposed.memory.state[after]
            chunks = self.units.first(proposed.chunks[after])
            losses.append(self.step(proposed.memory, rows, self.next_action(state, chunks, rng)))
        return {"critic_loss": float(torch.stack(losses).mean()) if losses else 0.0}

    def step(
        self, memory: Memory, rows: Tensor, action: Tensor, bonus: Tensor | None = None
    ) -> Tensor:
        """Take one step on the transitions `rows`, which go on with `action`; returns the loss."""
        learner = self.ready(memory)
        target = learner.targets(
            memory.reward[rows],
            memory.discount[rows],
            memory.state[memory.after[rows]],
            action,
            bonus,
        )
        return learner.step(memory.state[rows], memory.action[rows], target)

    @torch.no_grad()
    def next_action(
        self,
        state: Float[Tensor, "n f"],
        chunks: Float[Tensor, "n m ka"],
        rng: np.random.Generator,
    ) -> Float[Tensor, "n ka"]:
        """Select one of several chunks per state: the best, or a random one."""
        if self.recipe.backup == "policy":
            pick = torch.from_numpy(rng.integers(chunks.shape[1], size=len(chunks)))
        else:
            pick = self.values(state, chunks).argmax(1)
        return chunks[torch.arange(len(chunks)), pick]

    def values(
        self, state: Float[Tensor, "n f"], chunks: Float[Tensor, "n m ka"]
    ) -> Float[Tensor, "n m"]:
        """The value of several chunks per state."""
        return self.critic.value(state[:, None].expand(-1, chunks.shape[1], -1), chunks)
