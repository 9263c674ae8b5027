"""Servers of the chat API that are hostile to a judge, for hostile_judges.py.

Written from the protocol's text. One half of the episodes (by the content of the request's
pictures) is answered properly: no, with probability 0.9.
"""

import hashlib
import json
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import log
from typing import Any

Handler = BaseHTTPRequestHandler
NO = '{"seen": "nothing", "success": "no"}'
YES = '{"seen": "it is done", "success": "yes"}'
OTHER = "gpu.example.org"


def tops(*pairs: tuple[str, Any]) -> list[dict[str, Any]]:
    return [{"token": word, "logprob": value} for word, value in pairs]


def answer(
    text: Any = NO, *, word: str = "no", logprobs: Any = None, finish: str = "stop", **more: Any
) -> dict[str, Any]:
    """A completion; `logprobs` are the alternatives at the word's token."""
    choice: dict[str, Any] = {
        "index": 0,
        "message": {"role": "assistant", "content": text},
        "finish_reason": finish,
    }
    if logprobs is not None:
        choice["logprobs"] = {
            "content": [{"token": word, "logprob": 0.0, "top_logprobs": logprobs}]
        }
    whole = {
        "id": "1", "object": "chat.completion", "created": 0, "model": "toy", "choices": [choice],
        "usage": {"prompt_tokens": 90, "completion_tokens": 10, "total_tokens": 100},
    }  # fmt: skip
    return {**whole, **more}


PROPER = answer(logprobs=tops(("no", log(0.9)), ("yes", log(0.1))))


def body(content: Any, status: int = 200, **headers: str) -> Callable[[Handler], None]:
    """Send a body: text or bytes as they are, everything else as JSON."""
    sent = content if isinstance(content, bytes) else json.dumps(content).encode()

    def send(peer: Handler) -> None:
        peer.send_response(status)
        for name, value in {"content-type": "application/json", **headers}.items():
            peer.send_header(name.replace("_", "-"), value)
        if not {"content_length", "transfer_encoding"} & headers.keys():
            peer.send_header("content-length", str(len(sent)))
        peer.end_headers()
        peer.wfile.write(sent)

    return send


def error(status: int, **headers: str) -> Callable[[Handler], None]:
    return body({"error": {"message": "no"}}, status, **headers)


def hangs_up(peer: Handler) -> None:
    peer.connection.close()


def silent(peer: Handler) -> None:
    time.sleep(4)


def drips(peer: Handler) -> None:
    """One byte at a time, for as long as anybody listens."""
    peer.send_response(200)
    peer.send_header("content-length", "100000")
    peer.end_headers()
    for _ in range(60):
        peer.wfile.write(b" ")
        peer.wfile.flush()
        time.sleep(0.2)


def drips_headers(peer: Handler) -> None:
    peer.wfile.write(b"HTTP/1.1 200 OK\r\n")
    for number in range(60):
        peer.wfile.write(b"X-%d: y\r\n" % number)
        peer.wfile.flush()
        time.sleep(0.2)


def closes_in_the_middle(peer: Handler) -> None:
    sent = json.dumps(answer(YES)).encode()
    body(sent[: len(sent) // 2], content_length=str(len(sent)))(peer)
    peer.connection.close()


def endless(peer: Handler) -> None:
    """A body without an end, as fast as it is taken."""
    peer.send_response(200)
    peer.end_headers()
    for _ in range(4096):
        peer.wfile.write(b" " * 65536)


def no_http(peer: Handler) -> None:
    peer.wfile.write(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")


def redirects(peer: Handler) -> None:
    body(b"", 307, location=peer.path)(peer)


def elsewhere(peer: Handler) -> None:
    """To an address inside the network, which must not be asked."""
    body(b"", 307, location=f"http://{peer.headers['Host']}/inside")(peer)


def bomb() -> bytes:
    """A quarter of a gigabyte in a quarter of a megabyte."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join([*(packer.compress(b" " * 2**20) for _ in range(256)), packer.flush()])


def twice(first: str, second: str) -> dict[str, Any]:
    whole = answer(first)
    return {**whole, "choices": [*whole["choices"], *answer(second)["choices"]]}


NAN, INF = float("nan"), float("inf")
CHAT: dict[str, Callable[[Handler], None]] = {
    "rate limit for ever": error(429),
    "rate limit, retry after an hour": error(429, retry_after="3600"),
    "rate limit, retry after NaN": error(429, retry_after="nan"),
    "500 for ever": error(500),
    "503 with a page of HTML": body(b"<html>busy</html>", 503, content_type="text/html"),
    "400, whatever is asked": error(400),
    "400 that names every option": body(
        {"error": {"message": "response_format logprobs top_logprobs seed model messages"}}, 400
    ),
    "402 out of credit": error(402),
    "413 too large": error(413),
    "401": error(401),
    "404, no such model": error(404),
    "redirects to itself": redirects,
    "redirects to an address inside": elsewhere,
    "204 without a body": body(b"", 204),
    "hangs up": hangs_up,
    "silent": silent,
    "drips": drips,
    "drips headers": drips_headers,
    "closes in the middle of a yes": closes_in_the_middle,
    "speaks no HTTP": no_http,
    "a body without an end": endless,
    "eight megabytes": body(b" " * 2**23),
    "a zip bomb": body(bomb(), content_encoding="gzip"),
    "gzip that is none": body(json.dumps(answer(YES)).encode(), content_encoding="gzip"),
    "empty": body(b""),
    "half of a yes": body(json.dumps(answer(YES)).encode()[:150]),
    "HTML with status 200": body(b"<html>yes</html>", content_type="text/html"),
    "JSON of another kind": body([answer(YES)]),
    "null": body(None),
    "NaN": body(b"NaN"),
    "no UTF-8": body(b'{"choices": [{"message": {"content": "\xff\xfe"}}]}'),
    "nested 100,000 deep": body(b'{"choices":' + b"[" * 100_000),
    "a number of a million digits": body(b'{"choices": ' + b"9" * 10**6 + b"}"),
    "server-sent events": body(
        b"data: " + json.dumps(answer(YES)).encode() + b"\n\ndata: [DONE]\n\n",
        content_type="text/event-stream",
    ),
    "another version (responses)": body(
        {"object": "response", "output": [{"content": [{"type": "output_text", "text": YES}]}]}
    ),
    "another version (completions)": body({"choices": [{"text": YES, "finish_reason": "stop"}]}),
    "an error with status 200": body({"error": {"message": "overloaded"}}),
    "no choices": body({**answer(YES), "choices": []}),
    "choices that are no list": body({**answer(YES), "choices": {"0": {}}}),
    "choices of null": body({**answer(YES), "choices": [None]}),
    "two choices that differ": body(twice(YES, NO)),
    "two choices that are equal": body(twice(YES, YES)),
    "no message": body({**answer(YES), "choices": [{"finish_reason": "stop"}]}),
    "null content": body(answer(None)),
    "a number as content": body(answer(1)),
    "content in parts": body(answer([{"type": "text", "text": YES}])),
    "a refusal": body(answer("I cannot help with that.")),
    "yes in prose": body(answer("Yes, certainly, the robot did it: success!")),
    "yes without JSON": body(answer("yes")),
    "another word": body(answer('{"success": "success"}')),
    "another language": body(answer('{"success": "ja"}')),
    "true instead of a word": body(answer('{"success": true}')),
    "a number instead of a word": body(answer('{"success": 1}')),
    "NaN instead of a word": body(answer('{"success": NaN}')),
    "a list of words": body(answer('{"success": ["yes", "no"]}')),
    "yes and then no": body(answer(f"{YES}\n{NO}")),
    "the same key twice": body(answer('{"success": "no", "success": "yes"}')),
    "unsure": body(answer('{"success": "unsure"}')),
    "cut off": body(answer(YES, finish="length")),
    "filtered": body(answer(YES, finish="content_filter")),
    "no, with NaN": body(answer(logprobs=tops(("no", NAN), ("yes", NAN)))),
    "no, with infinity": body(answer(logprobs=tops(("yes", INF), ("no", -INF)))),
    "no, but yes is likelier": body(answer(logprobs=tops(("no", -5.0), ("yes", -0.01)))),
    "no, with two that are certain": body(answer(logprobs=tops(("no", 0.0), ("yes", 0.0)))),
    "no, with positive log-probabilities": body(answer(logprobs=tops(("yes", 9.0), ("no", 1.0)))),
    "no, with the alternatives twice": body(
        answer(logprobs=tops(("no", -0.7), ("yes", -0.8), ("yes", -0.8), ("yes", -0.8)))
    ),
    "no, with texts": body(answer(logprobs=tops(("yes", "0.0"), ("no", "-9")))),
    "no, with truths": body(answer(logprobs=tops(("yes", True), ("no", False)))),
    "no, with numbers of a thousand digits": body(
        answer(logprobs=tops(("no", 0.0), ("yes", -(10**1000))))
    ),
    "no, with 50,000 alternatives": body(
        answer(logprobs=tops(("no", -0.1), *((f"yes{k}", 0.0) for k in range(50_000))))
    ),
    "no, with logprobs that are a list": body(
        {**answer(), "choices": [{**answer()["choices"][0], "logprobs": [1, 2]}]}
    ),
    "no, with usage of NaN": body({**answer(), "usage": {"total_tokens": NAN}}),
    "no, with a negative usage": body({**answer(), "usage": {"total_tokens": -(10**9)}}),
    "no, with further fields": body(answer(NO, success="yes", probability=1.0, verdict=True)),
    "no, with a megabyte of reasons": body(
        answer(json.dumps({"seen": "x" * 2**20, "success": "no"}))
    ),
    "no, with terminal codes and a formula": body(
        answer(json.dumps({"seen": "=1+1\x1b[2J\x07", "success": "no"}))
    ),
}
LIARS: dict[str, Callable[[Handler], None]] = {
    "yes to everything, log-probability 0": body(
        answer(YES, word="yes", logprobs=tops(("yes", 0.0)))
    ),
    "yes to everything, without log-probabilities": body(answer(YES)),
}


@contextmanager
def chat_server(case: str) -> Iterator[str]:
    """Serve a case on a free port of this machine; yields its address."""
    liar = case in LIARS
    hostile = {**CHAT, **LIARS}[case]
    proper = body(PROPER)

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            if self.path.startswith("/inside"):
                body(answer(YES, word="yes", logprobs=tops(("yes", 0.0))))(self)
                return
            asked = self.rfile.read(int(self.headers.get("content-length", 0)))
            pictures = json.dumps(json.loads(asked)["messages"]).encode()
            half = hashlib.sha256(pictures).digest()[0] % 2
            (hostile if liar or half else proper)(self)

        do_GET = do_POST

        def log_message(self, format: str, *args: object) -> None:
            return

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            return

    server = Quiet(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
