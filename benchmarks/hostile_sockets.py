"""Servers of judges that are hostile, for hostile_judges.py.

One half of the episodes (by the content of the request) is answered properly: failure, 0.1.
"""

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from threading import Thread
from typing import Any

import msgpack
from hostile import MESSAGES, array, packed, said
from websockets.sync.server import ServerConnection, serve

Peer = ServerConnection
Reply = Callable[[Peer, int, int], None]  # peer, the request's number, frames of its episode
HELLO = {"worldeval-judge": 1, "numbered": True, "name": "hostile", "version": "1"}
NAN, INF = float("nan"), float("inf")


def says(**content: Any) -> Reply:
    """Answer with a map; the request's number is added."""
    return lambda peer, number, frames: peer.send(packed({"request": number, **content}))


def by_frame(make: Callable[[int], Any]) -> Reply:
    """Answer with evidence by frame, and a success."""

    def reply(peer: Peer, number: int, frames: int) -> None:
        peer.send(packed({"request": number, "probability": 1.0, "by_frame": make(frames)}))

    return reply


def floats(count: int, raw: bytes = b"\0\0\x80\x3f") -> dict[bytes, Any]:
    return array("<f4", [count], raw * count)


def sends(message: bytes | str) -> Reply:
    return lambda peer, number, frames: peer.send(message)


def twice(peer: Peer, number: int, frames: int) -> None:
    """A failure as an answer, and a success to be taken for the next episode's."""
    peer.send(packed({"request": number, "probability": 0.0}))
    peer.send(packed({"request": number, "probability": 1.0}))


def ahead(peer: Peer, number: int, frames: int) -> None:
    """The answer to a request that was not sent yet."""
    peer.send(packed({"request": number + 1, "probability": 1.0}))


def silent(peer: Peer, number: int, frames: int) -> None:
    time.sleep(3)


def drips(peer: Peer, number: int, frames: int) -> None:
    """Pieces of a message that never ends."""

    def pieces() -> Iterator[bytes]:
        for _ in range(40):
            yield b"\x81"
            time.sleep(0.2)

    peer.send(pieces())


def leaves(peer: Peer, number: int, frames: int) -> None:
    peer.close(1011, "x" * 100)


def leaves_in_the_middle(peer: Peer, number: int, frames: int) -> None:
    whole = packed({"request": number, "probability": 1.0, "reason": "x" * 1000})
    header = b"\x82\x7e" + len(whole).to_bytes(2, "big")
    peer.socket.sendall(header + whole[: len(whole) // 2])
    peer.socket.close()


ANSWERS: dict[str, Reply] = {
    "no probability": says(),
    "NaN": says(probability=NAN),
    "infinity": says(probability=INF),
    "just above 1": says(probability=1.0001),
    "negative": says(probability=-0.5),
    "a percentage": says(probability=97),
    "beyond integers of 63 bits": says(probability=2**63),
    "a text": says(probability="1.0"),
    "yes": says(probability="yes"),
    "true": says(probability=True),
    "a list": says(probability=[1.0]),
    "a map": says(probability={"success": 1.0}),
    "an array": says(probability=floats(1)),
    "a NumPy scalar that is NaN": says(
        probability={b"__npgeneric__": True, b"data": NAN, b"dtype": "<f4"}
    ),
    "nil": says(probability=None),
    "evidence that is too short": by_frame(lambda frames: floats(frames - 1)),
    "evidence that is too long": by_frame(lambda frames: floats(10 * frames)),
    "evidence in two dimensions": by_frame(
        lambda frames: array("<f4", [frames, 1], b"\0\0\x80\x3f" * frames)
    ),
    "evidence of NaN": by_frame(lambda frames: floats(frames, b"\xff\xff\xff\xff")),
    "evidence above 1": by_frame(lambda frames: floats(frames, b"\0\0\0\x40")),
    "evidence in a list": by_frame(lambda frames: [1.0] * frames),
    "evidence of objects": by_frame(lambda frames: array("|O", [frames], b"\0" * 8 * frames)),
    "evidence with too few bytes": by_frame(lambda frames: array("<f4", [frames], b"\0")),
    "votes of NaN": says(probability=1.0, votes=[NAN]),
    "votes above 1": says(probability=1.0, votes=[3]),
    "votes of texts": says(probability=1.0, votes=["yes"]),
    "two thousand votes": says(probability=1.0, votes=[1.0] * 2000),
    "votes that are a text": says(probability=1.0, votes="yes"),
    "votes that are a map": says(probability=1.0, votes={"a": 1.0}),
    "a list for all episodes": says(probability=[1.0, 1.0], episodes=2),
    "verdicts of other episodes": sends(packed([{"probability": 1.0}] * 3)),
    "another number": says(request=10**6, probability=1.0),
    "no number": sends(packed({"probability": 1.0})),
    "a number in a text": says(request="1", probability=1.0),
    "an answer twice": twice,
    "an answer ahead": ahead,
    "a traceback": sends("Traceback (most recent call last):\n  ValueError: no"),
    "a megabyte of text": sends("x" * 2**20),
    "a reason of a megabyte": says(probability=1.0, reason="x" * 2**20),
    "silent": silent,
    "drips": drips,
    "leaves": leaves,
    "leaves in the middle of a success": leaves_in_the_middle,
    "further fields, and a failure": says(probability=0.0, success=True, score=1.0, verdict="yes"),
    "a failure, with a reason that is a number": says(probability=0.0, reason=7),
    **{f"message: {name}": sends(message) for name, message in MESSAGES.items()},
}
GREETINGS: dict[str, bytes | str | None] = {
    "greets with nothing": None,
    "greets with a text": "Traceback: no",
    "greets with no map": packed([1]),
    "greets as a policy": said(action_dim=8, views=["side"], chunk=1),
    "greets with version 2": packed({**HELLO, "worldeval-judge": 2}),
    "greets with version true": packed({**HELLO, "worldeval-judge": True}),
    "greets without numbers": packed({**HELLO, "numbered": False}),
    "greets without a name": packed({"worldeval-judge": 1, "numbered": True}),
    "greets with a name of control characters": packed({**HELLO, "name": "\x1b[2J\n=1+1"}),
    "greets with a name of 10,000 letters": packed({**HELLO, "name": "x" * 10_000}),
}
STATUS: dict[str, int] = {
    "refuses the handshake: 401": 401,
    "refuses the handshake: 404": 404,
    "refuses the handshake: 500": 500,
    "refuses the handshake: 503": 503,
    "redirects the handshake": 301,
}
LIARS: dict[str, Reply] = {"1.0 to everything": says(probability=1.0)}
SOCKET = (*ANSWERS, *GREETINGS, *STATUS)


@contextmanager
def judge_server(case: str) -> Iterator[str]:
    """Serve a case on a free port of this machine; yields its address."""
    hostile = {**ANSWERS, **LIARS}.get(case, says(probability=0.1))
    greeting = GREETINGS.get(case, packed(HELLO))

    def handle(peer: Peer) -> None:
        with suppress(Exception):  # whatever its client does to it
            if greeting is not None:
                peer.send(greeting)
            for message in peer:
                assert isinstance(message, bytes)
                asked = msgpack.unpackb(message, strict_map_key=False)
                number, pose = asked["request"], asked["judge"]["pose"]
                half = hashlib.sha256(pose[b"data"]).digest()[0] % 2
                if case in LIARS or half:
                    hostile(peer, number, pose[b"shape"][0])
                else:
                    says(probability=0.1)(peer, number, 0)

    def refuse(peer: Peer, request: Any) -> Any:
        status = STATUS.get(case)
        if status is None:
            return None
        response = peer.respond(HTTPStatus(status), "no")
        if status == 301:
            response.headers["Location"] = "ws://localhost:9/"
        return response

    with serve(
        handle, "localhost", 0, max_size=None, compression=None, process_request=refuse
    ) as listening:
        Thread(target=listening.serve_forever, daemon=True).start()
        try:
            yield f"ws://localhost:{listening.socket.getsockname()[1]}"
        finally:
            listening.shutdown()
