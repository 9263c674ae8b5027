# pandas types a cell as anything that a table may hold.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportGeneralTypeIssues=false
"""Correct a judge of frames with a few labels, and the rate of every labelled policy."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from worldeval.errors import UserError
from worldeval.evaluate.develop import protocol
from worldeval.evaluate.label_fits import COMMON, FITS, left_out_losses
from worldeval.evaluate.people import PeopleJudge
from worldeval.judge.address import read_judge_address
from worldeval.judge.correction import Correction
from worldeval.judge.load import CALIBRATION, judge_folder
from worldeval.runs.films import read_filmstrips
from worldeval.runs.label_queue import read_queue
from worldeval.runs.labels import read_opinions
from worldeval.runs.paths import IMAGINED, RunPaths
from worldeval.runs.tables import read_outcomes, read_side
from worldeval.stats import Estimate, combine
from worldeval.stats.calibration import log_loss
from worldeval.stats.priority import corrected_rate

FEWEST = 10  # labels
PEOPLE = "people"


@dataclass(frozen=True, kw_only=True)
class LabelCalibration:
    """A correction fitted to labels, and what it changes."""

    correction: Correction | None  # None for learned judges, which have a calibration of their own
    labels: int
    policies: int  # that have labels
    method: str  # of label_fits.py: the one with the smallest log loss after
    # Mean negative log-likelihood of the labels of each policy, with the correction fitted to the
    # other policies; None where only one policy has labels.
    log_loss_before: float
    log_loss_after: float | None
    log_losses: dict[str, float]  # the same of every method
    rates: dict[str, Estimate]  # policy -> rate over its labelled and unlabelled episodes

    def to_json(self) -> dict[str, object]:
        """Return everything as plain values."""
        return asdict(self)


def calibrate_with_labels(runs: Sequence[Path], labels: str) -> LabelCalibration:
    """Fit a curve from a judge's probabilities to labels of imagined episodes.

    It is one curve for all tasks, or one for each task with enough labels; `label_fits` says which
    there are. The one with the smallest log loss on policies that it was not fitted to is taken
    (with labels of one policy, the common curve). Few labels are enough, since every curve is drawn
    to a simpler one. Rates of policies are corrected by prediction-powered inference
    (Angelopoulos et al., 2023), from their own labels of drawn episodes: they are right however
    wrong the judge is. Labels of the viewer's queue count by the inverse of the probability with
    which the queue drew them; those of a uniform draw count equally. Of the two, a policy's rate
    uses the larger set. Labels of episodes that were picked by hand, or rendered because they show
    much, would bias a rate and are used for the correction only.

    Args:
        runs: ranking runs of one judge, without `calibration=`.
        labels: `people` for the labels given in the viewer, or a CSV file with policy, task, start
            and success, of randomly drawn episodes.

    Raises:
        UserError: fewer than 10 labels, only successes or only failures, labels of episodes that
            no run has, or runs of different or corrected judges.
    """
    learned = _is_learned(runs)
    table = pd.concat([_labelled(run, labels) for run in runs], ignore_index=True)
    known = table[table["label"].notna()]
    success = known["label"].to_numpy(float) == 1
    if len(known) < FEWEST or success.all() or not success.any():
        raise UserError(
            f"{labels} has {len(known)} labels of these episodes, {int(success.sum())} of them "
            f"successes. At least {FEWEST} labels with both outcomes are needed."
        )
    score = known["score"].to_numpy(float)
    task = known["task"].to_numpy(str)
    policy = pd.factorize(known["policy"])[0]
    losses = left_out_losses(score, success, task, policy)
    method = min(losses, key=lambda name: losses[name]) if losses else COMMON
    return LabelCalibration(
        correction=None if learned else FITS[method](score, success, task),
        labels=len(known),
        policies=int(policy.max()) + 1,
        method=method,
        log_loss_before=log_loss(score, success.astype(float)),
        log_loss_after=losses.get(method),
        log_losses=losses,
        rates={
            str(name): rate
            for name, rows in table.groupby("policy", sort=True)
            if (rate := _rate(rows)) is not None
        },
    )


def _rate(rows: pd.DataFrame) -> Estimate | None:
    """Return a policy's rate by its labels of drawn episodes; None if these are too few."""
    queued = rows[rows["chance"].notna()]
    by_queue = int(queued["label"].notna().sum())
    if max(by_queue, rows["random"].sum()) < FEWEST:
        return None
    if by_queue <= rows["random"].sum():
        return combine(
            rows.loc[rows["random"], "label"].to_numpy(float),
            rows.loc[rows["random"], "score"].to_numpy(float),
            rows.loc[~rows["random"], "score"].to_numpy(float),
        ).estimate
    return corrected_rate(
        # Where people are unsure, the judge's probability stays.
        queued["label"].fillna(queued["score"]).to_numpy(float),
        queued["score"].to_numpy(float),
        queued["chance"].to_numpy(float),
        rows["score"].to_numpy(float),
    )


def _labelled(run: Path, labels: str) -> pd.DataFrame:
    """Return the imagined episodes of a run with `label` (1, 0 or missing).

    `random` says whether the label may stand for the others equally: the episode was drawn at
    random. `chance` is the probability with which the viewer's queue drew it, or missing.
    """
    key = ["policy", "task", "start"]
    table = read_side(run, IMAGINED, needed=(*key, "seed", "score"))
    if labels == PEOPLE:
        people = PeopleJudge(run)
        said = [
            people.label(policy, start, int(seed))
            for policy, start, seed in zip(
                table["policy"], table["start"], table["seed"], strict=True
            )
        ]
        drawn = {strip.key for strip in read_filmstrips(RunPaths(run).films) if strip.drawn}
        rows = zip(table["policy"], table["task"], table["start"], table["seed"], strict=True)
        keys = [(policy, task, start, int(seed)) for policy, task, start, seed in rows]
        chances = read_queue(run).chances(read_opinions(run))
        return table.assign(
            label=[np.nan if each is None else float(each) for each in said],
            random=[
                each is not None and key in drawn for each, key in zip(said, keys, strict=True)
            ],
            chance=[chances.get(key, np.nan) for key in keys],
        )
    found = read_outcomes(Path(labels))
    if not found.binary:
        raise UserError(f"{labels} needs a column success with 0 and 1.")
    given = pd.DataFrame(
        {
            "policy": [found.policies[index] for index in found.policy],
            "task": [found.tasks[index] for index in found.task],
            "start": found.start,
            "success": found.value,
        }
    )
    merged = table.merge(given, on=key, how="left").rename(columns={"success": "label"})
    if not merged["label"].notna().any():
        raise UserError(
            f"{labels} has no label of an episode of {run}: policy, task and start must be equal."
        )
    return merged.assign(random=merged["label"].notna(), chance=np.nan)


def _is_learned(runs: Sequence[Path]) -> bool:
    """Whether the one judge of these runs is a learned one.

    Raises:
        UserError: the runs have different judges, or one that was corrected already.
    """
    judges = dict.fromkeys(protocol(run).judge for run in runs)
    if len(judges) != 1:
        raise UserError(f"The runs have different judges ({', '.join(judges)}); give runs of one.")
    (ref,) = judges
    if CALIBRATION in read_judge_address(ref).params:
        raise UserError(
            f"The judge {ref} was corrected already. Give a run of it without {CALIBRATION}=."
        )
    return judge_folder(ref) is not None
