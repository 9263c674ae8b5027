"""Servers that are hostile to our client: what hostile.py sends, as a greeting and as an answer."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import Thread
from typing import Any

import numpy as np
from hostile import MESSAGES, array, said
from websockets.sync.server import serve

from worldeval.errors import UserError
from worldeval.policy.load import load_policy
from worldeval.record import Observation


@dataclass(frozen=True, kw_only=True)
class Clients:
    """What came of servers that are hostile to our client."""

    hostile_messages: int
    taken: tuple[str, ...]  # answers that were taken for actions
    tracebacks: tuple[str, ...]
    hangs: int  # longer than 30 seconds
    slowest_s: float


GREETED = said(action_dim=8, views=["side"], chunk=1)
ANSWERED = said(actions=array("<f4", [1, 8], b"\0" * 32))
# What a server does to every question: nothing, too much, too soon, or leaving.
DEALINGS: dict[str, Callable[[Any], Any]] = {
    "never answers": lambda peer: time.sleep(3),
    "answers twice": lambda peer: (peer.send(ANSWERED), peer.send(ANSWERED)),
    "leaves": lambda peer: peer.close(),
    "closes with an error": lambda peer: peer.close(1011, "x" * 100),
    "answers in words": lambda peer: peer.send("Traceback (most recent call last):\n  x"),
    "a text of a megabyte": lambda peer: peer.send("x" * 2**20),
    "in pieces": lambda peer: peer.send([b"\x81", b"\xa7acti"]),
    "NaN": lambda peer: peer.send(said(actions=array("<f4", [1, 8], b"\xff" * 32))),
}


def clients() -> Clients:
    """Let our client ask every hostile server once."""
    taken, tracebacks, slowest, hangs, count = [], [], 0.0, 0, 0
    cases: list[tuple[str, Callable[[Any], Any], Callable[[Any], Any]]] = []
    for name, message in MESSAGES.items():

        def sends(peer: Any, message: bytes = message) -> None:
            peer.send(message)

        cases.append((f"greeting: {name}", sends, lambda peer: peer.send(ANSWERED)))
        cases.append((f"answer: {name}", lambda peer: peer.send(GREETED), sends))
    for name, dealing in DEALINGS.items():
        cases.append((name, lambda peer: peer.send(GREETED), dealing))
    for name, greets, answers in cases:
        begin = time.monotonic()
        try:
            with _hostile_server(greets, answers) as port:
                ended = _asked(f"ws://localhost:{port}?wait=1.0&timeout=1.0")
        except UserError as error:
            ended = str(error)
            if "\n" in ended:
                tracebacks.append(f"{name}: more than a line: {ended[:80]!r}")
        except Exception as error:
            ended = ""
            tracebacks.append(f"{name}: {type(error).__name__}: {error!s:.80}")
        count += 1
        if ended is None:
            taken.append(name)
        slowest = max(slowest, time.monotonic() - begin)
        hangs += time.monotonic() - begin > 30
    return Clients(
        hostile_messages=count,
        taken=tuple(taken),
        tracebacks=tuple(tracebacks),
        hangs=hangs,
        slowest_s=round(slowest, 1),
    )


def _asked(address: str) -> str | None:
    """Ask a server for actions twice; None where it answered properly."""
    policy = load_policy(address)
    policy.reset(["x"], [0])
    seen = Observation(
        frames={"side": np.zeros((1, 8, 8, 3), np.uint8)},
        pose=np.zeros((1, 4), np.float32),
        tasks=("x",),
    )
    for _ in range(2):
        policy.act(seen)
    getattr(policy, "settle", lambda: None)()
    return None


@contextmanager
def _hostile_server(greets: Callable[[Any], None], answers: Callable[[Any], Any]) -> Iterator[int]:
    def handle(peer: Any) -> None:
        with suppress(Exception):  # whatever its client does to it
            greets(peer)
            for _ in peer:
                answers(peer)

    with serve(handle, "localhost", 0, max_size=None, compression=None) as listening:
        Thread(target=listening.serve_forever, daemon=True).start()
        try:
            yield listening.socket.getsockname()[1]
        finally:
            listening.shutdown()
