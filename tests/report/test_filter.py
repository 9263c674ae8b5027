"""Which episodes are shown, and in what order."""

import pandas as pd
import pytest

from worldeval.report.filter import TRUST, VERDICTS, Choice, choose, orders
from worldeval.runs.episodes import EpisodeTable

TABLE = pd.DataFrame(
    {
        "id": list("abcd"),
        "policy": ["p", "p", "q", "q"],
        "task": ["open", "close", "open", "close"],
        "score": [0.9, 0.6, 0.2, 0.4],
        "real": [1.0, 0.0, 1.0, None],
        "disagreement": [0.05, 0.4, 0.0, 0.2],
        "mended": [0.0, 0.0, 0.5, 0.0],
        "file": [""] * 4,
        "row": [-1] * 4,
    }
)
EPISODES = EpisodeTable(table=TABLE)


def ids(**choice) -> str:
    found = choose(EPISODES, Choice(**choice), with_film=frozenset("ad"))
    return "".join(found["id"])


@pytest.mark.parametrize(
    ("choice", "shown"),
    [
        ({}, "abcd"),
        ({"policy": "q"}, "cd"),
        ({"policy": "q", "task": "open"}, "c"),
        ({"verdict": "imagined success"}, "ab"),
        ({"verdict": "undecided: between 0.3 and 0.7"}, "bd"),
        ({"verdict": "too optimistic: imagined success, measured failure"}, "b"),
        ({"verdict": "too pessimistic: imagined failure, measured success"}, "c"),
        ({"trust": "judges differ by more than 0.25"}, "b"),
        ({"trust": "more than 1% of actions clipped"}, "c"),
        ({"filmed": True}, "ad"),
        ({"order": "most probable first"}, "abdc"),
        ({"order": "least probable first"}, "cdba"),
        ({"order": "most surprising first"}, "cbad"),
        ({"order": "largest disagreement first"}, "bdac"),
        ({"order": "largest clipped actions first"}, "cabd"),
    ],
)
def test_what_is_chosen_is_shown(choice: dict, shown: str) -> None:
    assert ids(**choice) == shown


def test_every_verdict_of_a_known_outcome_is_of_one_kind() -> None:
    kinds = [test for name, test in VERDICTS.items() if name.startswith(("correct", "too"))]
    counts = pd.concat([test(TABLE) for test in kinds], axis=1).sum(axis=1)
    assert list(counts) == [1, 1, 1, 0]  # nothing is known of the last


def test_trust_and_orders_follow_the_columns() -> None:
    bare = EpisodeTable(table=TABLE.drop(columns=["disagreement", "mended"]).assign(real=None))
    assert orders(bare) == ("run order", "most probable first", "least probable first")
    assert len(choose(bare, Choice(trust=next(iter(TRUST))))) == 4
