# pandas types a cell as anything that a table may hold.
# pyright: reportArgumentType=false, reportAssignmentType=false, reportCallIssue=false, reportGeneralTypeIssues=false, reportReturnType=false
"""Filter and sort the episodes of a run."""

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from worldeval.runs.episodes import CUT, EpisodeTable

ALL = "all"
CLIPPED = 0.01  # an episode counts as clipped above this share of its action values
AGREE, DIFFER = 0.1, 0.25  # range of the judges' probabilities: largest minus smallest

Test = Callable[[pd.DataFrame], pd.Series]

VERDICTS: dict[str, Test] = {
    "imagined success": lambda t: t["score"] >= CUT,
    "imagined failure": lambda t: t["score"] < CUT,
    "undecided: between 0.3 and 0.7": lambda t: t["score"].between(0.3, 0.7),
    "too optimistic: imagined success, measured failure": (
        lambda t: (t["score"] >= CUT) & (t["real"] == 0)
    ),
    "too pessimistic: imagined failure, measured success": (
        lambda t: (t["score"] < CUT) & (t["real"] == 1)
    ),
    "correct: success, imagined and measured": lambda t: (t["score"] >= CUT) & (t["real"] == 1),
    "correct: failure, imagined and measured": lambda t: (t["score"] < CUT) & (t["real"] == 0),
}
TRUST: dict[str, tuple[str, Test]] = {
    f"judges agree within {AGREE:g}": ("disagreement", lambda t: t["disagreement"] <= AGREE),
    f"judges differ by more than {DIFFER:g}": (
        "disagreement",
        lambda t: t["disagreement"] > DIFFER,
    ),
    f"more than {CLIPPED:.0%} of actions clipped": ("mended", lambda t: t["mended"] > CLIPPED),
}
LABELS = {"mended": "clipped actions"}  # of signals whose stored name is not shown
ORDERS = ("run order", "most probable first", "least probable first", "most surprising first")


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The filters that a user chose; each is a name from the lists above, or `ALL`."""

    policy: str = ALL
    task: str = ALL
    verdict: str = ALL
    trust: str = ALL
    order: str = ORDERS[0]
    filmed: bool = False  # only episodes with a film strip


def choose(
    episodes: EpisodeTable, choice: Choice, *, with_film: frozenset[str] = frozenset()
) -> pd.DataFrame:
    """Return the rows of the episode table that match, in the requested order."""
    table = episodes.table
    fits = pd.Series(True, index=table.index)
    for column, wanted in (("policy", choice.policy), ("task", choice.task)):
        if wanted != ALL:
            fits &= table[column] == wanted
    if choice.verdict in VERDICTS:
        fits &= VERDICTS[choice.verdict](table)
    if choice.trust in TRUST and TRUST[choice.trust][0] in table:
        fits &= TRUST[choice.trust][1](table)
    if choice.filmed:
        fits &= table["id"].isin(list(with_film))
    return _ordered(table[fits], choice.order, episodes.signals)


def orders(episodes: EpisodeTable) -> tuple[str, ...]:
    """List the sort orders that this table supports."""
    known = ORDERS if episodes.table["real"].notna().any() else ORDERS[:-1]
    return (*known, *(_largest(name) for name in episodes.signals))


def signal_label(signal: str) -> str:
    """Return the name under which a trust signal is shown."""
    return LABELS.get(signal, signal)


def _largest(signal: str) -> str:
    return f"largest {signal_label(signal)} first"


def _ordered(table: pd.DataFrame, order: str, signals: tuple[str, ...]) -> pd.DataFrame:
    if order == ORDERS[1]:
        return table.sort_values("score", ascending=False, kind="stable")
    if order == ORDERS[2]:
        return table.sort_values("score", kind="stable")
    if order == ORDERS[3]:
        surprise = (table["score"] - table["real"]).abs().fillna(0)
        return table.loc[surprise.sort_values(ascending=False, kind="stable").index]
    for signal in signals:
        if order == _largest(signal):
            return table.sort_values(signal, ascending=False, kind="stable")
    return table
