"""Training on a device: the CPU's losses to the last digit, and no wait within a step."""

import pytest

from tests.golden import hooks, stored
from tests.support.pretend_device import Noted

# Where a training waits for its device: to report the loss, every 20 steps, and to return weights.
REPORTS = {"training/optimise.py: optimise", "training/optimise.py: fitted"}
GOLDEN = stored.read("losses")


@pytest.mark.parametrize("case", ["latent", "dit", "uwm", "rssm", "judge"])
def test_a_training_takes_the_same_course_on_a_device(case: str, trains_there: Noted) -> None:
    taken(case, trains_there)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["ctrl_world", "tokenizer"])
def test_a_long_training_takes_the_same_course_on_a_device(case: str, trains_there: Noted) -> None:
    taken(case, trains_there)


def taken(case: str, noted: Noted) -> None:
    hooks.prepared()
    noted.clear()
    found = hooks.LOSSES[case]()["losses"]
    golden = GOLDEN[case]["losses"]
    assert stored.differences(golden, found, rtol=1e-4, atol=1e-6, at=case) == []
    assert noted.uploads  # it did happen there
    assert set(noted.waits) <= REPORTS
