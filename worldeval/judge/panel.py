"""A panel of judges: their mean probability decides, and their disagreement is shown."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from worldeval.axes import Array, Float
from worldeval.judge.made_for import MadeFor
from worldeval.judge.protocol import Judge, Judged
from worldeval.record import Rollout, Verdict


class JudgePanel:
    """The mean probability of judges; one vote each. It abstains where any of them does.

    A mean over the judges that answer would mix two scales: one judge's easy episodes and another's
    hard ones.
    """

    def __init__(self, judges: Sequence[Judge]) -> None:
        self.judges = tuple(judges)
        self.name = "panel of " + ", ".join(judge.name for judge in judges)
        self.made_for: MadeFor | None = None  # its judges are compared one by one

    def __call__(self, rollouts: Sequence[Rollout]) -> list[Verdict]:
        """Return a verdict for each roll-out."""
        each = [judge(rollouts) for judge in self.judges]
        return [self._verdict(verdicts) for verdicts in zip(*each, strict=True)]

    def judged(self, rollouts: Sequence[Rollout]) -> Judged:
        """Return verdicts, mean evidence, and what any judge abstained on."""
        each = [judge.judged(rollouts) for judge in self.judges]
        reasons = [judged.abstained or ("",) * len(rollouts) for judged in each]
        return Judged(
            verdicts=[
                self._verdict(own) for own in zip(*(one.verdicts for one in each), strict=True)
            ],
            evidence=np.mean([judged.evidence for judged in each], axis=0),
            abstained=tuple(
                "; ".join(
                    f"{judge.name}: {reason}"
                    for judge, reason in zip(self.judges, own, strict=True)
                    if reason
                )
                for own in zip(*reasons, strict=True)
            ),
            progress=_mean([judged.progress for judged in each if judged.progress is not None]),
        )

    def over_time(self, rollouts: Sequence[Rollout]) -> Float[Array, "b t"]:
        """Return the mean probability at each frame."""
        return np.mean([judge.over_time(rollouts) for judge in self.judges], axis=0)

    def parts(self) -> list[Judge]:
        """Return the judges of the panel."""
        return list(self.judges)

    def knows(self, task: str) -> bool:
        """Whether every judge can judge this task."""
        return all(judge.knows(task) for judge in self.judges)

    def _verdict(self, verdicts: Sequence[Verdict]) -> Verdict:
        said = [verdict.probability for verdict in verdicts]
        return Verdict(
            probability=float(np.mean(said)),
            step=int(np.median([verdict.step for verdict in verdicts])),
            judge=self.name,
            votes=tuple(said),
            progress=_mean([each.progress for each in verdicts if each.progress is not None]),
        )


def _mean(given: Sequence[Any]) -> Any:
    """Mean of what the judges that measure progress say; None if none does."""
    return np.mean(given, axis=0) if given else None
