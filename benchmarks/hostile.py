"""Hostile messages to both servers, and to our clients: does each get a clear error?

    python benchmarks/hostile.py [--json] [--quick]

Starts `worldeval serve-policy` and `serve-world` as users do, sends each everything in `MESSAGES`
and `MANNERS`, and after every one asks a proper question. A crash is a server that has ended or no
longer answers properly; unclear is an ending without a word of why. Memory is read before and after
a second round of the same, in MiB of resident memory.

Then servers that say everything in `MESSAGES`, first as their greeting and then as an answer, and
that behave as in `DEALINGS`, are asked for actions by `worldeval`'s own client, which must end with
one line within 30 seconds each.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgpack
import numpy as np
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from worldeval.files import write_json

ROOT = Path(__file__).parent.parent
RESULT = Path(__file__).parent / "results" / "hostile.json"
TOKEN = "a-token-of-the-benchmark"
MEGABYTES, IDLE = 4, 3
POLICY = ["serve-policy", "zero", "-P", "action_dim=8", "-P", "views=[side]"]
WORLD = [
    *("serve-world", "models/latent", "--starts", "evaluation/metaworld/starts.h5"),
    *("--episodes", "2", "--horizon", "4"),
]


@dataclass(frozen=True, kw_only=True)
class Hostility:
    """What came of it."""

    hostile_messages: int
    crashes: int  # servers that ended, or answered a proper question wrongly afterwards
    unclear: int  # endings without a word of why
    growth_mib: float  # of the larger server's memory over the second round
    unclear_ones: tuple[str, ...] = ()


def array(dtype: Any = "<f4", shape: Any = (2, 2), data: Any = b"\0" * 16) -> dict[bytes, Any]:
    """An array as it travels, with whatever is wrong in it."""
    return {b"__ndarray__": True, b"dtype": dtype, b"shape": shape, b"data": data}


def packed(content: Any) -> bytes:
    raw = msgpack.packb(content)
    assert raw is not None
    return raw


def said(**content: Any) -> bytes:
    return packed(content)


WHOLE = said(prompt="x", **{"observation/state": array(), "observation/side": array("|u1")})
# Bytes of a binary frame. Every one is wrong for a policy and for a world.
MESSAGES: dict[str, bytes] = {
    "nothing": b"",
    "a reserved byte": b"\xc1",
    "half a map": b"\x82\xa1a",
    **{f"cut after {cut} bytes": WHOLE[:cut] for cut in (1, 10, 40, len(WHOLE) - 1)},
    "something after the end": WHOLE + b"\0",
    "no map": packed([1, 2, 3]),
    "nil": packed(None),
    "a number": packed(7),
    "keys in bytes": packed({b"prompt": "x"}),
    "keys in numbers": b"\x81\x01\x02",
    "a list as key": b"\x81\x91\x01\x02",
    "a map as key": b"\x81\x80\x01",
    "no text encoding": b"\x81\xa2\xff\xfe\x01",
    "lists 100,000 deep": b"\x91" * 100_000 + b"\xc0",
    "maps 5,000 deep": b"\x81\xa1a" * 5_000 + b"\xc0",
    "a million empty maps": b"\x81\xa1a\xdd" + (10**6).to_bytes(4, "big") + b"\x80" * 10**6,
    "empty lists in lists": b"\x81\xa1a\xdc\x10\x00" + (b"\xdc\x01\x00" + b"\x90" * 256) * 4096,
    "four billion items announced": b"\x81\xa1a\xdd\xff\xff\xff\xff",
    "four billion keys announced": b"\xdf\xff\xff\xff\xff",
    "four gigabytes announced": b"\x81\xa1a\xc6\xff\xff\xff\xff",
    "a text of a megabyte": said(prompt="x" * 2**20),
    "an extension": b"\x81\xa1a\xc7\x04\x2a\x80\x04K.",
    "a time": b"\x81\xa1a\xd6\xff\0\0\0\0",
    **{
        f"dtype {dtype}": said(step=array(dtype), prompt="x", **{"observation/state": array(dtype)})
        for dtype in ("|O", "|V4", "<c8", "<U4", "|S4", "<M8[s]", "(9999999,)f4", "i4,i4", "f99")
    },
    "dtype of another kind": said(step=array(3), **{"observation/state": array(3)}),
    "a shape that overflows": said(x=array(shape=[2**31 - 1] * 8)),
    "a negative shape": said(x=array(shape=[-2, -2])),
    "a shape of truths": said(x=array(shape=[True, 4])),
    "a shape of sixty": said(x=array(shape=[1] * 60)),
    "too few bytes": said(x=array(shape=[1000, 1000])),
    "bytes that are a text": said(x=array(data="0" * 16)),
    "an array without bytes": packed({"x": {b"__ndarray__": True}}),
    "a scalar of an object": said(x={b"__npgeneric__": True, b"data": [1], b"dtype": "|O"}),
    "a scalar out of range": said(x={b"__npgeneric__": True, b"data": 999, b"dtype": "|u1"}),
    "an image of floats": said(prompt="x", **{"observation/side": array(shape=[2, 2])}),
    "a batch without a reset": said(prompt=["x"] * 2, **{"observation/state": array()}),
    "a reset of nothing": said(reset={}, begin={}),
    "a reset of too many": said(
        reset={"tasks": ["x"] * 3000, "seeds": [0] * 3000},
        begin={"starts": [0] * 9, "seeds": [0] * 9},
    ),
    "a negative seed": said(
        reset={"tasks": ["x"], "seeds": [-1]}, begin={"starts": [0], "seeds": [-1]}
    ),
    "a seed beyond numbers": said(
        reset={"tasks": ["x"], "seeds": ["1"]}, begin={"starts": [0], "seeds": [2**63]}
    ),
    "a start that is not there": said(
        reset={"tasks": [1], "seeds": [0]}, begin={"starts": [10**6], "seeds": [0]}
    ),
    "actions of another size": said(prompt=3, step=array(shape=[4])),
    "two questions in one": WHOLE + WHOLE,
    "an answer": said(actions=array(), reset=1),
    "numbers beyond floats": said(
        prompt="x", **{"observation/state": array("<f4", [4], b"\xff" * 16)}
    ),
    "a task of nothing": said(reset={"tasks": [], "seeds": [0]}, begin={"starts": [], "seeds": []}),
    "seeds that are no numbers": said(
        reset={"tasks": ["x"], "seeds": [None]}, begin={"starts": [0], "seeds": [None]}
    ),
    "more seeds than tasks": said(
        reset={"tasks": ["x"], "seeds": [0, 1]}, begin={"starts": [0], "seeds": [0, 1]}
    ),
    "a truth as start": said(
        reset={"tasks": [True], "seeds": [True]}, begin={"starts": [True], "seeds": [0.5]}
    ),
    "more than is read": b"\0" * (MEGABYTES * 2**20 + 1),
}


def wrong_token(url: str) -> str:
    return opened(url, {"Authorization": "Api-Key wrong"})


def no_token(url: str) -> str:
    return opened(url, {})


def token_in_other_letters(url: str) -> str:
    return opened(url, {"Authorization": f"Api-Key {TOKEN.upper()}"})


def a_page_in_a_browser(url: str) -> str:
    return opened(url, {**GREETING, "Origin": "http://example.org"})


def a_text_frame(url: str) -> str:
    return talked(url, lambda peer: peer.send("__import__('os').abort()"))


def too_much_in_pieces(url: str) -> str:
    return talked(url, lambda peer: peer.send([b"\0" * 2**20] * (MEGABYTES + 1)))


def leaves_at_once(url: str) -> str:
    return raw(url, b"", wait=0.0) or "left"


def not_http(url: str) -> str:
    return raw(url, b"\x16\x03\x01" + bytes(range(256)) * 4 + b"\r\n\r\n")


def another_method(url: str) -> str:
    return raw(url, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n123456789")


def headers_without_end(url: str) -> str:
    return raw(url, b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: y\r\n" % i for i in range(9999)))


def a_header_too_long(url: str) -> str:
    return raw(url, b"GET / HTTP/1.1\r\nX: " + b"y" * 100_000 + b"\r\n\r\n")


def a_broken_frame(url: str) -> str:
    return framed(url, b"\xff\xff" + b"\0" * 20)


def a_frame_without_mask(url: str) -> str:
    return framed(url, b"\x82\x01a")


def a_frame_beyond_everything(url: str) -> str:
    return framed(url, b"\x82\xff" + b"\xff" * 8 + b"\0" * 20)


def half_a_frame_and_then_silence(url: str) -> str:
    return framed(url, b"\x82\xfe\x0f\xff\0\0\0\0abc", wait=IDLE + 6)


def silence(url: str) -> str:
    return talked(url, lambda peer: None, wait=IDLE + 6)


MANNERS: tuple[Callable[[str], str], ...] = (
    wrong_token,
    no_token,
    token_in_other_letters,
    a_page_in_a_browser,
    a_text_frame,
    too_much_in_pieces,
    leaves_at_once,
    not_http,
    another_method,
    headers_without_end,
    a_header_too_long,
    a_broken_frame,
    a_frame_without_mask,
    a_frame_beyond_everything,
    half_a_frame_and_then_silence,
    silence,
)
SLOW = (half_a_frame_and_then_silence, silence)
GREETING = {"Authorization": f"Api-Key {TOKEN}"}


def opened(url: str, headers: dict[str, str]) -> str:
    """What the server says to a greeting; '' where it lets the client in."""
    try:
        with dialled(url, headers) as peer:
            peer.recv(timeout=5)
            return ""
    except InvalidStatus as error:
        return f"{error.response.status_code} {error.response.body.decode(errors='replace')}"


def talked(url: str, say: Callable[[Any], None], *, wait: float = 10) -> str:
    """The server's last word to what a client says."""
    try:
        with dialled(url, GREETING) as peer:
            peer.recv(timeout=10)
            try:
                say(peer)
                answer = peer.recv(timeout=wait)
            except ConnectionClosed as error:
                close = error.rcvd
                return f"{close.code} {close.reason}" if close else ""
            return answer if isinstance(answer, str) else ""
    except TimeoutError:
        return ""


def framed(url: str, sent: bytes, *, wait: float = 5) -> str:
    """What comes back, behind a proper greeting, to bytes that need not be a frame."""
    where = urlsplit(url)
    greeting = (
        f"GET / HTTP/1.1\r\nHost: {where.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: MDEyMzQ1Njc4OTAxMjM0NQ==\r\nSec-WebSocket-Version: 13\r\n"
        f"Authorization: Api-Key {TOKEN}\r\n\r\n"
    )
    return raw(url, greeting.encode() + sent, wait=wait, close=True)


def raw(url: str, sent: bytes, *, wait: float = 5, close: bool = False) -> str:
    """What a socket hears until the server ends it, or 'closed'; '' where the server does not."""
    where = urlsplit(url)
    heard = b""
    with socket.create_connection((where.hostname, where.port), timeout=5) as peer:
        if wait == 0:
            return ""
        peer.settimeout(wait)
        try:
            peer.sendall(sent)
            while piece := peer.recv(65536):
                heard += piece
        except TimeoutError:
            return ""
        except ConnectionError:
            pass  # it hung up while we were talking
    text = heard.decode("latin-1")
    return (text.rpartition("\x88")[2] if close else text) or "closed"


def dialled(url: str, headers: dict[str, str]) -> Any:
    return connect(
        url,
        additional_headers=headers,
        compression=None,
        max_size=2**24,
        open_timeout=20,
        close_timeout=1,
        ping_interval=None,
        proxy=None,
    )


def policy_is_well(url: str) -> bool:
    """Whether a proper client of the dialect gets proper actions."""
    image = array("|u1", [8, 8, 3], b"\0" * 192)
    question = said(
        prompt="x", **{"observation/state": array(shape=[4]), "observation/side": image}
    )
    return _answer(url, question, "actions") == b"\0" * 32


def world_is_well(url: str) -> bool:
    """Whether an episode begins."""
    answer = _answer(url, said(begin={"starts": [0], "seeds": [1]}), "pose")
    return (
        answer is not None
        and len(answer) == 16
        and bool(np.isfinite(np.frombuffer(answer, "<f4")).all())
    )


def _answer(url: str, question: bytes, key: str) -> bytes | None:
    try:
        with dialled(url, GREETING) as peer:
            peer.recv(timeout=20)
            peer.send(question)
            answer = peer.recv(timeout=60)
    except (OSError, ConnectionClosed, InvalidStatus):
        return None
    return None if isinstance(answer, str) else msgpack.unpackb(answer)[key][b"data"]


@contextmanager
def server(command: list[str]) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A server of its own process, and its address."""
    with tempfile.TemporaryDirectory() as folder:
        said_at = Path(folder) / "address.json"
        options = ["--port", "0", "--max-megabytes", str(MEGABYTES), "--idle", str(IDLE)]
        process = subprocess.Popen(
            [sys.executable, "-m", "worldeval", *command, *options, "--out", str(said_at)],
            cwd=ROOT,
            env={**os.environ, "WORLDEVAL_TOKEN": TOKEN},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            deadline = time.monotonic() + 300
            while not said_at.is_file():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"worldeval {' '.join(command)} did not begin to listen")
                time.sleep(0.05)
            yield json.loads(said_at.read_text())["address"], process
        finally:
            process.kill()
            process.wait()


def assail(
    url: str, process: subprocess.Popen[bytes], well: Callable[[str], bool], *, quick: bool
) -> Hostility:
    """Everything there is, twice; the slow ones once, and not at all where it must be quick."""
    count, crashes, unclear, before, after = 0, 0, [], 0.0, 0.0
    for second in (False, True):
        before, after = after, before
        for name, message in MESSAGES.items():
            answer = talked(url, lambda peer, message=message: peer.send(message))
            count += 1
            if not answer:
                unclear.append(name)
            crashes += process.poll() is not None or not well(url)
        for manner in MANNERS:
            if manner in SLOW and (second or quick):
                continue
            answer = manner(url)
            count += 1
            if not answer:
                unclear.append(manner.__name__)
            crashes += process.poll() is not None or not well(url)
        after = resident(process.pid)
    return Hostility(
        hostile_messages=count,
        crashes=crashes,
        unclear=len(unclear),
        growth_mib=round(after - before, 1),
        unclear_ones=tuple(dict.fromkeys(unclear)),
    )


def resident(process: int) -> float:
    """Resident memory of a process in MiB; 0 where /proc does not tell."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0.0
    line = next((line for line in status.splitlines() if line.startswith("VmRSS")), "VmRSS: 0 kB")
    return int(line.split()[1]) / 1024


def run_hostile(quick: bool) -> dict[str, Any]:
    """Both servers: hostile_messages, crashes, unclear, growth_mib, and each server's own."""
    told = {}
    for name, command, well in (
        ("policy", POLICY, policy_is_well),
        ("world", WORLD, world_is_well),
    ):
        with server(command) as (url, process):
            told[name] = assail(url, process, well, quick=quick)
    from hostile_clients import clients

    asked = clients()
    return {
        "clients": asdict(asked),
        "hostile_messages": sum(one.hostile_messages for one in told.values()),
        "crashes": sum(one.crashes for one in told.values()),
        "unclear": sum(one.unclear for one in told.values()),
        "growth_mib": max(one.growth_mib for one in told.values()),
        "servers": {name: asdict(one) for name, one in told.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true", help="leave out what waits for seconds")
    options = parser.parse_args()
    begin = time.monotonic()
    result: dict[str, Any] = {
        "command": " ".join(["python benchmarks/hostile.py", *sys.argv[1:]]),
        "machine": f"{os.cpu_count()} CPU cores",
        **run_hostile(options.quick),
        "seconds": round(time.monotonic() - begin),
    }
    if not options.quick:
        write_json(RESULT, result)
    if options.json:
        print(json.dumps(result))
        return
    for name, one in result["servers"].items():
        print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in one.items()))
    print("clients: " + ", ".join(f"{key} {value}" for key, value in result["clients"].items()))


if __name__ == "__main__":
    main()
