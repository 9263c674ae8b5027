"""Messages: what is said is heard, and nothing else."""

from typing import Any

import msgpack
import numpy as np
import pytest

from worldeval.policy.remote.wire import MessageLimits, WireError, pack, unpack


def test_what_is_said_is_heard() -> None:
    said = {
        "image": np.arange(24, dtype=np.uint8).reshape(2, 4, 3),
        "state": np.array([0.5, -1], np.float32),
        "empty": np.zeros((0, 3)),
        "point": np.zeros(()),
        "step": np.int64(7),
        "prompt": "näher",
        "list": [1, 2.5, None, True, "x"],
    }
    heard = unpack(pack(said))
    assert heard.keys() == said.keys()
    for key in ("image", "state", "empty", "point"):
        np.testing.assert_array_equal(heard[key], said[key])
        assert heard[key].dtype == said[key].dtype and heard[key].flags.writeable
    assert (heard["step"], heard["prompt"], heard["list"]) == (7, "näher", said["list"])


def test_the_bytes_are_those_of_the_dialect() -> None:
    """As openpi writes them: bytes as keys, the dtype with its byte order, a flat copy of data."""
    raw = msgpack.unpackb(pack({"x": np.array([[1, 2]], "<i2")}))
    assert raw == {
        "x": {
            b"__ndarray__": True,
            b"data": b"\1\0\2\0",
            b"shape": [1, 2],
            b"dtype": "<i2",
        }
    }
    big = {b"__ndarray__": True, b"data": b"\0\1", b"dtype": ">i2", b"shape": [1]}
    assert unpack(packed(big)).tolist() == [1]


@pytest.mark.parametrize("value", [np.array([{}]), np.array([1j]), np.array(["x"]), {1, 2}])
def test_what_is_no_number_is_not_sent(value) -> None:
    with pytest.raises(WireError):
        pack({"x": value})


def packed(content: Any) -> bytes:
    raw = msgpack.packb(content)
    assert raw is not None
    return raw


def array(dtype: Any = "<f4", shape: Any = (1,), data: Any = b"\0\0\0\0") -> bytes:
    return packed({b"__ndarray__": True, b"dtype": dtype, b"shape": shape, b"data": data})


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (b"", "not readable"),
        (b"\xc1", "not readable"),
        (array()[:-1], "not readable"),
        (array() + b"\0", "not readable"),
        (b"\x91" * 5000 + b"\xc0", "too deeply"),
        (b"\xdd" + (4000).to_bytes(4, "big") + b"\x80" * 4000, "more than 1024 lists"),
        (b"\xdd\xff\xff\xff\xff", "max_array_len"),
        (b"\xc7\x04\x2a\x80\x04K.", "max_ext_len"),
        (b"\x81\x01\x02", "not readable"),
        (array("|O"), "dtype '|O'"),
        (array("(99999999,)f4"), "dtype"),
        (array(7), "dtype"),
        (array(shape=[2]), "bytes of data"),
        (array(shape=[-1]), "list of non-negative integers"),
        (array(shape=[True, 1]), "list of non-negative integers"),
        (array(shape=[2**31 - 1] * 8), "bytes of data"),
        (array(shape=[1] * 9), "at most 8"),
        (array(data="0000"), "data in bytes"),
        (packed({b"__ndarray__": True}), "dtype"),
        (packed({b"__npgeneric__": 1, b"data": [], b"dtype": "<f4"}), "a number"),
    ],
)
def test_hostile_messages_are_refused_in_words(message: bytes, said: str) -> None:
    with pytest.raises(WireError, match=said.replace("|", r"\|")):
        unpack(message)


def test_a_message_has_its_size() -> None:
    with pytest.raises(WireError, match="the maximum is 100"):
        unpack(pack({"x": np.zeros(100)}), MessageLimits(message=100))
