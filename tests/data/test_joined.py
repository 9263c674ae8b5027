"""Arrays in several places, read as one."""

import numpy as np
import pytest

from worldeval.data.joined import JoinedRows

WHOLE = np.arange(60, dtype=np.float16).reshape(20, 3)
JOINED = JoinedRows([WHOLE[:7], WHOLE[7:7], WHOLE[7:8], WHOLE[8:]])


@pytest.mark.parametrize(
    "rows",
    [
        3,
        -1,
        slice(5, 12),
        slice(None, None, 4),
        np.array([6, 7, 8]),
        np.array([19, 0, 7, 7, -20]),
        np.array([[1, 9], [18, 2]]),
        np.empty(0, np.int64),
    ],
)
def test_rows_are_those_of_one_array(rows: object) -> None:
    assert np.array_equal(JOINED[rows], WHOLE[rows])  # pyright: ignore
    assert JOINED.shape == (20, 3) and np.array_equal(np.asarray(JOINED), WHOLE)


@pytest.mark.parametrize("rows", [20, -21, np.array([0, 25])])
def test_a_row_that_is_not_there(rows: object) -> None:
    with pytest.raises(IndexError, match="20 rows"):
        JOINED[rows]  # pyright: ignore


def test_rows_of_two_shapes_are_no_array() -> None:
    with pytest.raises(ValueError, match="rows of"):
        JoinedRows([WHOLE, WHOLE[:, :2]])
