# pandas types a cell as anything that a table may hold.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
"""What people's labels do to a ranking: episodes counted as people say, and the judge's error."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from worldeval.runs.episodes import EpisodeTable, identity
from worldeval.runs.films import Filmstrip
from worldeval.runs.labels import WORDS, Opinion, latest
from worldeval.stats import Estimate, combine

FEWEST = 10  # labels of drawn episodes below which nothing is said of the rest


@dataclass(frozen=True, kw_only=True)
class PolicyChange:
    """One policy before and after."""

    policy: str
    rank: int
    judged: float  # mean probability of the judge, every task weighing the same
    rank_after: int
    labelled: float  # the same with people's labels in place of the judge's probabilities
    labels: int  # episodes of it that somebody labelled


@dataclass(frozen=True, kw_only=True)
class Corrected:
    """The success rate of the whole run, corrected by episodes drawn at random and labelled."""

    judged: float  # mean probability over all episodes
    corrected: Estimate
    labels: int
    correlation: float | None  # of labels with probabilities; None where it is undefined


def said(opinions: Sequence[Opinion]) -> dict[str, float]:
    """The share of people who call an episode a success, by its id; unsure ones are left out."""
    votes: dict[str, list[bool]] = {}
    for opinion in latest(list(opinions)):
        answer = WORDS[opinion.label]
        if answer is not None:
            votes.setdefault(identity(*opinion.key), []).append(answer)
    return {name: float(np.mean(given)) for name, given in votes.items()}


def moved(episodes: EpisodeTable, opinions: Sequence[Opinion]) -> list[PolicyChange]:
    """Every policy with its rate before and after the labels, best first as judged."""
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
    """The rate of the run corrected by prediction-powered inference.

    Only labels of episodes that were drawn at random count: those chosen because they are telling
    say nothing of the others. None where fewer than `FEWEST` of them are labelled.
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
