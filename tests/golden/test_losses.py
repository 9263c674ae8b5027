"""Ten steps of every training: the same draws in the same order, and the same losses."""

import pytest

from tests.golden import hooks, stored

GOLDEN = stored.read("losses")


@pytest.mark.parametrize("case", hooks.LOSSES)
def test_a_training_takes_the_same_course(case: str) -> None:
    assert len(GOLDEN[case]["losses"]) % hooks.STEPS == 0
    now = hooks.LOSSES[case]()
    # Draws and rows first: where they differ, losses must.
    for part in ("draws", "rows", "losses"):
        golden = GOLDEN[case].get(part)
        assert stored.differences(golden, now.get(part), rtol=1e-4, atol=1e-6, at=part) == []
