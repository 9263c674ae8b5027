"""Every computation on a device that is not there (tests/support/pretend_device.py)."""

from collections.abc import Iterator

import pytest
import torch
from accelerate import PartialState
from accelerate.state import AcceleratorState

from tests.support.pretend_device import DEVICE, Noted, pretend_device
from worldeval.training.processes import this_process


@pytest.fixture
def noted() -> Iterator[Noted]:
    """Tensors may be on the pretended device; what was asked of it."""
    with pretend_device() as made:
        yield made


@pytest.fixture
def trains_there() -> Iterator[Noted]:
    """Networks are trained on the pretended device."""
    this_process()
    AcceleratorState._reset_state()
    PartialState._shared_state["device"] = DEVICE
    try:
        with pretend_device() as made:
            yield made
    finally:
        PartialState._shared_state["device"] = torch.device("cpu")
        AcceleratorState._reset_state()
