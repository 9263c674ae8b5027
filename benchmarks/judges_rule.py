"""A rule for each task, chosen by Youden's J: what proprioception alone tells."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from worldeval.judge.rollout_judge import RolloutJudge
from worldeval.judge.rule import RuleJudge
from worldeval.record import Rollout


@dataclass(frozen=True, kw_only=True)
class TaskRules:
    """One rule for each task, as it would be given to `--judge rule:`."""

    texts: Mapping[str, str]
    columns: int

    def __call__(self, rollouts: Sequence[Rollout]) -> np.ndarray:
        """Return 0 or 1 for every roll-out; NaN where its task has no rule."""
        out = np.full(len(rollouts), np.nan)
        for task, text in self.texts.items():
            rows = [row for row, each in enumerate(rollouts) if each.task == task]
            rule = RuleJudge(text, {}, columns=self.columns)
            judge = RolloutJudge(rule, lambda one: {}, fps=1.0)
            out[rows] = [each.probability for each in judge([rollouts[row] for row in rows])]
        return out


def chosen_rules(
    rollouts: Sequence[Rollout], success: np.ndarray, task: np.ndarray, *, use: np.ndarray
) -> TaskRules:
    """Choose for each task the column, direction and distance that separate the outcomes best."""
    poses = np.stack([each.pose for each in rollouts])
    moved = poses[:, 1:] - poses[:, :1]
    furthest = np.concatenate([moved.max(1), (-moved).max(1)], 1)  # each column, up and down
    columns, texts = poses.shape[2], {}
    for name in np.unique(task[use]):
        own = use & (task == name)
        if success[own].all() or not success[own].any():
            continue
        best, text = -1.0, ""
        for column in range(2 * columns):
            reached = furthest[own, column]
            for cut in np.quantile(reached, np.linspace(0.02, 0.98, 49)):
                said = reached > cut
                j = said[success[own]].mean() - said[~success[own]].mean()
                if j > best:
                    one = f"p{column % columns}"
                    up = f"{one} - start_{one}" if column < columns else f"start_{one} - {one}"
                    best, text = j, f"{up} > {cut:.4f}"
        texts[str(name)] = text
    return TaskRules(texts=texts, columns=columns)
