"""The shapes written in signatures hold: while tests run, a wrong one is an error."""

import numpy as np
import pytest
from jaxtyping import TypeCheckError

from worldeval.record import Start, Verdict


def start(*, channels: int = 3, dtype: type = np.float32) -> Start:
    frames = {"side": np.zeros((8, 9, channels), np.uint8)}
    return Start(id="a", task="open", seed=0, frames=frames, pose=np.zeros(4, dtype))


def test_a_record_takes_what_its_fields_say() -> None:
    assert start().pose.shape == (4,)


def test_another_shape_or_precision_is_refused() -> None:
    with pytest.raises(TypeCheckError):
        start(channels=4)
    with pytest.raises(TypeCheckError):
        start(dtype=np.float64)


def test_an_int_serves_as_a_float_and_not_the_other_way() -> None:
    assert Verdict(probability=1, step=0, judge="rule").probability == 1
    with pytest.raises(TypeCheckError):
        Verdict(probability=0.5, step=0.5, judge="rule")  # pyright: ignore[reportArgumentType]
