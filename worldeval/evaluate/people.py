"""People as the judge of a run: the labels that they gave in the viewer."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from worldeval.axes import Array, Float
from worldeval.errors import UserError
from worldeval.judge.made_for import MadeFor
from worldeval.judge.protocol import Judged
from worldeval.record import Rollout, Verdict
from worldeval.runs.labels import WORDS, latest, read_opinions

UNLABELLED = "nobody has labelled it"
UNSURE = "people are unsure, or disagree"


class PeopleJudge:
    """A judge of roll-outs that repeats what people said; it abstains on all others.

    Where several people labelled an episode, each has one vote. A tie is an abstention.
    """

    name = "people"

    def __init__(self, run: Path) -> None:
        """Read the labels of a run.

        Raises:
            UserError: there is none.
        """
        self.made_for: MadeFor | None = None
        self._said: dict[tuple[str, str, int], list[bool | None]] = {}
        for opinion in latest(read_opinions(run)):
            key = (opinion.policy, opinion.start, opinion.seed)
            self._said.setdefault(key, []).append(WORDS[opinion.label])
        if not self._said:
            raise UserError(
                f"{run} has no labels. Label episodes in the viewer first: worldeval "
                f"view {run} --label"
            )

    def label(self, policy: str, start: str, seed: int) -> bool | None:
        """Return the majority's label of an episode; None without labels or at a tie."""
        said = self._said.get((policy, start, seed), [])
        votes = [vote for vote in said if vote is not None]
        share = sum(votes) / len(votes) if votes else 0.5
        return None if share == 0.5 else share > 0.5

    def __call__(self, rollouts: Sequence[Rollout]) -> list[Verdict]:
        """Return a verdict for each roll-out; NaN where people gave none."""
        return self.judged(rollouts).verdicts

    def judged(self, rollouts: Sequence[Rollout]) -> Judged:
        """Return what people said. Evidence is the same at every frame."""
        verdicts, reasons = [], []
        for rollout in rollouts:
            key = (rollout.policy, rollout.start, rollout.seed)
            said, label = self._said.get(key), self.label(*key)
            reasons.append(UNLABELLED if said is None else UNSURE if label is None else "")
            verdicts.append(
                Verdict(
                    probability=np.nan if label is None else float(label),
                    step=len(rollout.pose) - 1,
                    judge=self.name,
                    votes=tuple(float(vote) for vote in said or () if vote is not None)
                    or (np.nan,),
                )
            )
        length = len(rollouts[0].pose) if rollouts else 0
        evidence = np.repeat([[verdict.probability] for verdict in verdicts], length, axis=1)
        return Judged(verdicts=verdicts, evidence=evidence, abstained=tuple(reasons))

    def over_time(self, rollouts: Sequence[Rollout]) -> Float[Array, "b t"]:
        """Return the verdict at every frame."""
        return self.judged(rollouts).evidence

    def knows(self, task: str) -> bool:
        """People know every task."""
        return True
