"""Two Ray nodes, one of which is lost in the middle: the same verdicts as here alone."""

from pathlib import Path

import numpy as np
import pytest
from faults import Bench, Tally, ray_cluster

pytest.importorskip("ray")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_a_lost_node_changes_nothing(tmp_path: Path) -> None:
    bench, tally = Bench(tmp_path, np.random.default_rng(0)), Tally()
    ray_cluster(bench, tally, actors=1)
    assert (tally.kills, tally.resumed_equal, tally.lost, tally.duplicated) == (2, 2, 0, 0)
