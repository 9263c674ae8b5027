"""The benchmark of faults in small: a ranking that is killed goes on to the same verdicts."""

from pathlib import Path

import numpy as np
import pytest
from faults import Bench, Tally, interrupted_rankings, killed_rankings, truncated_records


@pytest.fixture(scope="module")
def bench(tmp_path_factory) -> Bench:
    home: Path = tmp_path_factory.mktemp("faults")
    return Bench(home, np.random.default_rng(0), starts=4)


def test_killed_rankings_go_on(bench: Bench) -> None:
    tally = Tally()
    killed_rankings(bench, tally, 2)
    assert (tally.kills, tally.resumed_equal, tally.lost, tally.duplicated) == (2, 2, 0, 0)


def test_truncated_records_are_done_again(bench: Bench) -> None:
    tally = Tally()
    truncated_records(bench, tally, 1)
    assert (tally.resumed_equal, tally.lost, tally.duplicated) == (1, 0, 0)


def test_an_interrupted_ranking_says_how_to_go_on(bench: Bench) -> None:
    tally = Tally()
    interrupted_rankings(bench, tally, 1)
    assert tally.resumed_equal == 1


def test_a_wrong_episode_would_be_noticed(bench: Bench) -> None:
    tally = Tally()
    wrong = {key: (0.0, 0, ()) for key in bench.reference}
    tally.add("check", 1, wrong, bench.peace)
    tally.add("check", 1, {**bench.reference, ("a", "b", 0): (0.0, 0, ())}, bench.peace)
    assert (tally.kills, tally.resumed_equal, tally.lost) == (2, 0, 1)
