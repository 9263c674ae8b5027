"""Evaluation of objects in memory, such as a notebook's own policy, world model or judge."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from worldeval.errors import UserError, did_you_mean
from worldeval.evaluate.run import Evaluation
from worldeval.evaluate.workers.jobs import BatchDone, Job, by_task
from worldeval.evaluate.workers.spread import Alone, Crew
from worldeval.evaluate.workers.worker import Setup, Worker
from worldeval.judge.protocol import Judge
from worldeval.policy.protocol import Policy
from worldeval.policy.pulse import WatchedPolicy
from worldeval.record import Start
from worldeval.rollout.inverse import load_checker
from worldeval.runs.paths import RunPaths
from worldeval.world.world import World


class LiveWorker(Worker):
    """A worker that is given its models; errors of a policy are raised, for debugging."""

    def __init__(
        self, setup: Setup, world: World, judge: Judge, policies: Mapping[str, Policy]
    ) -> None:
        self._setup, self._world, self._judge = setup, world, judge
        self._checker = load_checker(setup.recipe.checker)
        self._policies = {ref: WatchedPolicy(policy) for ref, policy in policies.items()}

    def __call__(self, job: Job) -> BatchDone:
        return self._imagine(job)

    def _policy(self, ref: str) -> WatchedPolicy:
        return self._policies[ref]


@dataclass(kw_only=True)
class LiveEvaluation(Evaluation):
    """An evaluation in this process, in an unused folder.

    The recipe's addresses of world model, judge and policies are kept only for provenance.
    """

    world: World
    judge: Judge
    policies: Mapping[str, Policy]  # by address; objects in memory by name
    given: list[Start] = field(repr=False)
    known: Mapping[str, str]  # fingerprints of world and judge; "" if they have none

    def __post_init__(self) -> None:
        self.paths = RunPaths(self.out)
        self.starts = by_task(self.given, self.recipe.tasks)
        self.cards = pd.DataFrame([card_of(ref, one) for ref, one in self.policies.items()])
        self.spent, self.errors, self.seconds = None, {}, {}
        self.compared_with = None
        self.abstained = {}

    def models(self) -> tuple[World, Judge]:
        return self.world, self.judge

    def hashes(self) -> dict[str, str]:
        return dict(self.known)

    def check_models(self) -> None:
        spec = self.world.spec
        for task in (each for each in self.recipe.tasks if not spec.knows(each)):
            raise UserError(
                f"The world model was not trained on the task '{task}'."
                f"{did_you_mean(task, spec.tasks)}"
            )

    def _crew(self) -> Crew:
        setup = Setup(recipe=self.recipe, starts=self.starts, seed=self.seed)
        return Alone(lambda: LiveWorker(setup, self.world, self.judge, self.policies))


def card_of(ref: str, policy: Policy) -> dict[str, object]:
    """Describe a policy as a row of `policy_cards`."""
    spec, card = policy.spec, getattr(policy, "card", None)
    return {
        "ref": ref,
        "policy": spec.name,
        "lineage": spec.lineage,
        "step": spec.step,
        "misleads": bool(getattr(card, "misleads", False)),
        "validation_mse": getattr(card, "validation_mse", None),
    }
