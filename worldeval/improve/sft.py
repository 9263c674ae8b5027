"""Fine-tune on imagined successes in rounds: explore, judge, select, imitate.

Filtered behaviour cloning on what a policy imagines (as in Ctrl-World, arXiv 2510.10125), and its
weighted variants. The policy is trained with its own loss, and every batch includes demonstrations.
"""

import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from worldeval.data.table import RecordedEpisodes
from worldeval.errors import UserError
from worldeval.files import write_json
from worldeval.improve.explore import exploring
from worldeval.improve.guard import imagined_success
from worldeval.improve.left_out import seen_by
from worldeval.improve.place import Judging, Simulation
from worldeval.improve.recipe import SftRecipe
from worldeval.improve.samples import CALLED, episode, provenance, reached, samples
from worldeval.improve.select import Chosen, choose
from worldeval.improve.starts import Starts
from worldeval.policy.checkpoint import LearnedPolicy
from worldeval.policy.demos import Demos
from worldeval.policy.finetune import BatchShare, finetune, keep
from worldeval.record import Episode
from worldeval.stats import Estimate

# Writes episodes with their records as a dataset: (pairs, folder, facts common to all of them).
WriteDataset = Callable[
    [Iterable[tuple[Episode, Mapping[str, Any]]], Path, Mapping[str, Any]], object
]
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Round:
    """Record of one round."""

    number: int
    checkpoint: Path
    dataset: Path | None  # None if no imagined episode was used
    tried: int
    trusted: int
    successful: int
    kept: int
    imagined: Estimate  # imagined success of the round's policy on the monitored starts
    left_out: float | None  # of the same episodes, by the judge that is not optimised
    steps: int  # gradient steps of this round
    loss: float
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {**asdict(self), "imagined": self.imagined.record()}


@dataclass(frozen=True, kw_only=True)
class Watched:
    """Success on the monitored starts, according to the optimised judge and the other one."""

    imagined: Estimate
    left_out: float | None

    @property
    def pessimistic(self) -> float:
        """The lower verdict."""
        seen = self.imagined.value or 0.0
        return seen if self.left_out is None else min(seen, self.left_out)

    @property
    def gap(self) -> float:
        """How much more the optimised judge sees."""
        return (self.imagined.value or 0.0) - self.pessimistic


@dataclass(frozen=True, kw_only=True)
class Sft:
    """State shared by all rounds."""

    place: Simulation
    recipe: SftRecipe
    starts: Starts
    demos: Demos | None  # the original demonstrations; needed unless `ratio` is 0
    out: Path
    seed: int
    write: WriteDataset
    world_model: str = ""  # fingerprint, for provenance
    recorded: RecordedEpisodes | None = None  # for measuring the action error, if given
    left_out: Judging | None = None  # a judge that takes no part in the optimisation
    say: Say = lambda text: None

    def run(self, policy: LearnedPolicy) -> tuple[LearnedPolicy, list[Round]]:
        """Run every round; returns the selected policy, which may be the initial one.

        Results of an earlier run in `out` are replaced.

        Raises:
            UserError: the recipe rephrases tasks, or no imagined episode is a success.
        """
        if self.recipe.explore.phrases:
            raise UserError(
                f"explore.phrases rephrases tasks, but {policy.spec.name} does not read language: "
                "it identifies its tasks by number. Remove explore.phrases."
            )
        for old in (*self.out.glob("round-*"), self.out / "policies"):
            shutil.rmtree(old, ignore_errors=True)
        origin, rounds, past = policy.card.lineage, [], []
        first = self._watched(policy)
        kept, most = policy, first.pessimistic
        self.say(f"initial imagined success {first.imagined}")
        for number in range(1, self.recipe.rounds + 1):
            policy, done = self._round(policy, origin, number, past)
            rounds.append(done)
            seen = Watched(imagined=done.imagined, left_out=done.left_out)
            if self.recipe.keep == "last" or seen.pessimistic > most:
                kept, most = policy, seen.pessimistic
            write_json(self.out / "rounds.json", [one.to_json() for one in rounds])
            self.say(
                f"round {number}: {done.successful} trusted successes of {done.tried}, "
                f"{done.kept} kept; imagined success now {done.imagined}"
                + ("" if done.left_out is None else f", left-out judge {done.left_out:.3f}")
            )
            if seen.gap - first.gap > self.recipe.disagreement:
                self.say("ended: imagined success has risen away from the judge that was left out")
                break
        return kept, rounds

    def _watched(self, policy: LearnedPolicy) -> "Watched":
        attempts = self.place.compared(policy, self.starts.check, seed=self.seed)
        left_out = None
        if self.left_out is not None:
            rollouts = [attempt.rollout for attempt in attempts]
            left_out = float(seen_by(self.left_out, rollouts, batch=self.place.batch).mean())
        return Watched(imagined=imagined_success(attempts), left_out=left_out)

    def _round(
        self, policy: LearnedPolicy, origin: str, number: int, past: list[BatchShare]
    ) -> tuple[LearnedPolicy, Round]:
        began = perf_counter()
        recipe, rng = self.recipe, np.random.default_rng([self.seed, number])
        chosen, dataset = None, None
        if recipe.ratio < 1:
            chosen = self._explore(policy, rng)
            dataset = self.out / f"round-{number}" / "dataset"
            new = self._learned_from(chosen, dataset, policy)
            past.append(new)
        tuned = finetune(policy, self._parts(past), recipe.trainer, rng)
        stored = keep(
            self.out / "policies" / f"{origin}-sft" / f"step-{number}",
            policy,
            tuned.network,
            lineage=f"{origin}-sft",
            step=number,
            note=f"round {number} on imagined successes",
            loss=tuned.loss,
            seconds=perf_counter() - began,
            recorded=self.recorded,
        )
        watched = self._watched(stored)
        done = Round(
            number=number,
            checkpoint=self.out / "policies" / stored.spec.name,
            dataset=dataset,
            tried=chosen.tried if chosen else 0,
            trusted=chosen.trusted if chosen else 0,
            successful=chosen.successful if chosen else 0,
            kept=len(chosen.attempts) if chosen else 0,
            imagined=watched.imagined,
            left_out=watched.left_out,
            steps=tuned.steps,
            loss=tuned.loss,
            seconds=round(perf_counter() - began, 1),
        )
        return stored, done

    def _explore(self, policy: LearnedPolicy, rng: np.random.Generator) -> Chosen:
        recipe = self.recipe
        starts = self.starts.draw(recipe.starts, rng)
        # Attempts from one start are adjacent, so that a batch holds few starts many times.
        tries = [start for start in starts for _ in range(recipe.tries)]
        seeds = rng.integers(2**31, size=len(tries)).tolist()
        attempts = self.place.attempt(
            exploring(policy, recipe.explore, self.place.world.spec), tries, seeds
        )
        chosen = choose(
            attempts,
            recipe.trust,
            best=recipe.best,
            weight=recipe.weight,
            temperature=recipe.temperature,
        )
        if not chosen.attempts:
            top = max(attempt.verdict.probability for attempt in attempts)
            raise UserError(
                f"None of {chosen.tried} imagined episodes of {policy.spec.name} is a trusted "
                f"success (the highest probability is {top:.2f}). Lower trust.probability, "
                "increase tries, or start from a better policy."
            )
        return chosen

    def _learned_from(self, chosen: Chosen, dataset: Path, policy: LearnedPolicy) -> BatchShare:
        """Decode the selected attempts and store them as a dataset and as training samples."""
        episodes = [episode(attempt, self.place.world) for attempt in chosen.attempts]
        records = [
            provenance(attempt, world_model=self.world_model, weight=float(weight))
            for attempt, weight in zip(chosen.attempts, chosen.weight, strict=True)
        ]
        facts = {
            "improves": policy.spec.name,
            "success_from_probability": CALLED,
            "kept_from_probability": self.recipe.trust.probability,
            "kept": f"{len(episodes)} of {chosen.tried}",
            "weight": self.recipe.weight,
        }
        self.write(zip(episodes, records, strict=True), dataset, facts)
        demos, weight = samples(
            episodes,
            chosen.weight,
            tasks=policy.sizes.tasks,
            views=policy.recipe.views,
            chunk=policy.recipe.chunk,
            reached=reached(self.place.judge, chosen.attempts),
            after_success=self.recipe.after_success,
        )
        return BatchShare(demos=demos, share=float(weight.sum()), weight=weight)

    def _parts(self, past: list[BatchShare]) -> list[BatchShare]:
        """Combine original demonstrations at `ratio` with the weighted imagined samples."""
        ratio, imagined = self.recipe.ratio, sum(part.share for part in past)
        parts = [replace(part, share=(1 - ratio) * part.share / imagined) for part in past]
        if ratio > 0:
            if self.demos is None:
                raise UserError(
                    f"ratio {ratio:g} mixes in original demonstrations, but none were given. Pass "
                    "the dataset that the policy was trained on, or set ratio: 0."
                )
            parts.insert(0, BatchShare(demos=self.demos, share=ratio))
        return parts
