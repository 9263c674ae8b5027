# pandas types a cell as anything that a table may hold.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
"""The effect of human labels on a ranking: relabelled episodes, and the judge's error."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from worldeval.runs.episodes import EpisodeTable, identity
from worldeval.runs.films import Filmstrip
from worldeval.runs.label_queue import LabelQueue
from worldeval.runs.labels import WORDS, Opinion, latest
from worldeval.stats import Estimate, combine
from worldeval.stats.ppi import correlation
from worldeval.stats.priority import corrected_rate

FEWEST = 10  # fewest labels of random episodes from which the overall rate is corrected


@dataclass(frozen=True, kw_only=True)
class PolicyChange:
    """The rate of one policy before and after labelling."""

    policy: str
    rank: int
    judged: float  # mean probability of the judge, with equal weight for every task
    rank_after: int
    labelled: float  # the same with human labels in place of the judge's probabilities
    labels: int  # number of its episodes that were labelled


@dataclass(frozen=True, kw_only=True)
class Corrected:
    """The success rate of the whole run, corrected with labels of drawn episodes."""

    judged: float  # mean probability over all episodes
    corrected: Estimate
    labels: int
    correlation: float | None  # of labels with probabilities; None where it is undefined


def said(opinions: Sequence[Opinion]) -> dict[str, float]:
    """Return the share of success labels of each episode by its id; 'unsure' is ignored."""
    votes: dict[str, list[bool]] = {}
    for opinion in latest(list(opinions)):
        answer = WORDS[opinion.label]
        if answer is not None:
            votes.setdefault(identity(*opinion.key), []).append(answer)
    return {name: float(np.mean(given)) for name, given in votes.items()}


def moved(episodes: EpisodeTable, opinions: Sequence[Opinion]) -> list[PolicyChange]:
    """Return every policy's rate before and after labelling, best judged first."""
    people = said(opinions)
    table = episodes.table[["id", "policy", "task", "score"]].copy()
    given = table["id"].map(people)
    table["labelled"] = given.fillna(table["score"])
    table["labels"] = given.notna()
    by_task = table.groupby(["policy", "task"], as_index=False).agg(
        score=("score", "mean"), labelled=("labelled", "mean"), labels=("labels", "sum")
    )
    rates = by_task.groupby("policy").agg(
        score=("score", "mean"), labelled=("labelled", "mean"), labels=("labels", "sum")
    )
    for column in ("score", "labelled"):
        rates[f"{column}_rank"] = rates[column].rank(ascending=False, method="min").astype(int)
    rates = rates.sort_values("score", ascending=False, kind="stable")
    return [
        PolicyChange(
            policy=str(policy),
            rank=int(row["score_rank"]),
            judged=float(row["score"]),
            rank_after=int(row["labelled_rank"]),
            labelled=float(row["labelled"]),
            labels=int(row["labels"]),
        )
        for policy, row in rates.to_dict("index").items()
    ]


def corrected(
    episodes: EpisodeTable, opinions: Sequence[Opinion], strips: Sequence[Filmstrip]
) -> Corrected | None:
    """Correct the rate of the run by prediction-powered inference.

    Only labels of randomly drawn episodes are used, because episodes that were chosen as
    informative are not representative. None if fewer than `FEWEST` of them are labelled.
    """
    people = said(opinions)
    drawn = {identity(*strip.key) for strip in strips if strip.drawn}
    table = episodes.table
    labelled = table["id"].isin([name for name in people if name in drawn])
    count = int(labelled.sum())
    if count < FEWEST:
        return None
    real = table.loc[labelled, "id"].map(people).to_numpy(float)
    score = table["score"].to_numpy(float)
    found = combine(real, score[labelled.to_numpy()], score[~labelled.to_numpy()])
    return Corrected(
        judged=float(score.mean()),
        corrected=found.estimate,
        labels=count,
        correlation=found.rho,
    )


def corrected_by_queue(
    episodes: EpisodeTable, opinions: Sequence[Opinion], queue: LabelQueue
) -> Corrected | None:
    """Correct the rate of the run with labels of the queue, each by its drawing probability.

    An episode that people are unsure of keeps the judge's probability. None if fewer than `FEWEST`
    others are labelled.
    """
    people = said(opinions)
    chance = {identity(*key): each for key, each in queue.chances(opinions).items()}
    table = episodes.table
    drawn = table[table["id"].isin(chance)]
    real = drawn["id"].map(people)
    count = int(real.notna().sum())
    if count < FEWEST:
        return None
    judged, score = drawn["score"].to_numpy(float), table["score"].to_numpy(float)
    return Corrected(
        judged=float(score.mean()),
        corrected=corrected_rate(
            real.fillna(drawn["score"]).to_numpy(float),
            judged,
            drawn["id"].map(chance).to_numpy(float),
            score,
        ),
        labels=count,
        correlation=correlation(real.dropna().to_numpy(float), judged[real.notna().to_numpy()]),
    )
