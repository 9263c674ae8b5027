# pandas types a cell as anything that a table may hold.
# pyright: reportArgumentType=false, reportAssignmentType=false, reportCallIssue=false, reportGeneralTypeIssues=false, reportReturnType=false
"""Which episodes to look at, and in what order."""

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from worldeval.runs.episodes import CUT, EpisodeTable

ALL = "all"
CLIPPED = 0.01  # share of an episode's action numbers, beyond which it is called clipped
AGREE, DIFFER = 0.1, 0.25  # of the judges' probabilities, largest minus smallest

Test = Callable[[pd.DataFrame], pd.Series]

VERDICTS: dict[str, Test] = {
    "imagined success": lambda t: t["score"] >= CUT,
    "imagined failure": lambda t: t["score"] < CUT,
    "undecided: between 0.3 and 0.7": lambda t: t["score"].between(0.3, 0.7),
    "too optimistic: imagined success, real failure": (
        lambda t: (t["score"] >= CUT) & (t["real"] == 0)
    ),
    "too pessimistic: imagined failure, real success": (
        lambda t: (t["score"] < CUT) & (t["real"] == 1)
    ),
    "right: success, imagined and real": lambda t: (t["score"] >= CUT) & (t["real"] == 1),
    "right: failure, imagined and real": lambda t: (t["score"] < CUT) & (t["real"] == 0),
}
TRUST: dict[str, tuple[str, Test]] = {
    f"judges agree within {AGREE:g}": ("disagreement", lambda t: t["disagreement"] <= AGREE),
    f"judges differ by more than {DIFFER:g}": (
        "disagreement",
        lambda t: t["disagreement"] > DIFFER,
    ),
    f"actions clipped, more than {CLIPPED:.0%}": ("mended", lambda t: t["mended"] > CLIPPED),
}
ORDERS = ("as kept", "most probable first", "least probable first", "most surprising first")


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What a person chose; every part is a name out of the lists above, or all."""

    policy: str = ALL
    task: str = ALL
    verdict: str = ALL
    trust: str = ALL
    order: str = ORDERS[0]
    filmed: bool = False  # only those with pictures


def choose(
    episodes: EpisodeTable, choice: Choice, *, with_film: frozenset[str] = frozenset()
) -> pd.DataFrame:
    """The rows of the episodes' table that fit, in the order asked for."""
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
    """The orders that this table allows."""
    known = ORDERS if episodes.table["real"].notna().any() else ORDERS[:-1]
    return (*known, *(f"largest {name} first" for name in episodes.signals))


def _ordered(table: pd.DataFrame, order: str, signals: tuple[str, ...]) -> pd.DataFrame:
    if order == ORDERS[1]:
        return table.sort_values("score", ascending=False, kind="stable")
    if order == ORDERS[2]:
        return table.sort_values("score", kind="stable")
    if order == ORDERS[3]:
        surprise = (table["score"] - table["real"]).abs().fillna(0)
        return table.loc[surprise.sort_values(ascending=False, kind="stable").index]
    signal = order.removeprefix("largest ").removesuffix(" first")
    if signal in signals:
        return table.sort_values(signal, ascending=False, kind="stable")
    return table
