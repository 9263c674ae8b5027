"""The comparison itself: what it lets pass, and that it names what differs."""

from typing import Any

import pytest

from tests.golden.stored import differences


@pytest.mark.parametrize(
    ("golden", "now", "found"),
    [
        ({"a": 1.0}, {"a": 1.00005, "new": 2}, []),
        ({"a": 1.0}, {"a": 1.001}, ["/a: 1.001, was 1.0"]),
        ({"a": 3}, {"a": 4}, ["/a: 4, was 3"]),
        ({"a": 3}, {"a": 3.00001}, ["/a: 3.00001, was 3"]),
        ({"a": {"b": 1}}, {"a": {}}, ["/a/b: is gone"]),
        ([1, 2], [1], [": 1 entries, was 2"]),
        (["x", None, True], ["x", 0.0, True], ["/1: 0.0, was None"]),
    ],
)
def test_differences_are_named(golden: Any, now: Any, found: list[str]) -> None:
    assert differences(golden, now, rtol=1e-4, atol=0.0) == found
