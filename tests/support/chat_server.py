"""A server of the chat API, written from the protocol's text: it answers by a rule on the pictures.

The rule: the last picture of the message is redder than green on average -> yes. Modes make it
misbehave as servers and networks do.
"""

import base64
import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
from PIL import Image


@dataclass
class ChatServer:
    """What the server does, and what it was asked."""

    url: str = ""
    mode: str = "logprobs"  # or samples, or one of the faults below
    failures: int = 0  # requests that fail first
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)


def answer(redness: float, *, word: str | None = None, logprobs: bool = True) -> dict[str, Any]:
    """Return a proper answer."""
    said = word or ("yes" if redness > 0 else "no")
    content = json.dumps({"seen": f"redness {redness:.2f}", "success": said})
    message: dict[str, Any] = {
        "index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"
    }  # fmt: skip
    if logprobs:
        high, low = float(np.log(0.8)), float(np.log(0.2))
        other = "no" if said == "yes" else "yes"
        tops = [{"token": said, "logprob": high}, {"token": other, "logprob": low}]
        token = {"token": said, "logprob": high, "top_logprobs": tops}
        message["logprobs"] = {"content": [{"token": '{"', "logprob": 0.0}, token]}
    return {
        "id": "1", "object": "chat.completion", "created": 0, "model": "toy", "choices": [message],
        "usage": {"prompt_tokens": 90, "completion_tokens": 10, "total_tokens": 100},
    }  # fmt: skip


def redness(request: dict[str, Any]) -> float:
    """Return how much redder than green the last picture of a request is."""
    parts = request["messages"][0]["content"]
    urls = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
    raw = base64.b64decode(urls[-1].partition(",")[2])
    picture = np.asarray(Image.open(io.BytesIO(raw)).convert("RGB"), float)
    return float(picture[..., 0].mean() - picture[..., 1].mean()) / 255


def replies(server: ChatServer, request: dict[str, Any]) -> tuple[int, Any]:
    """Return status and content: a dict, or bytes that are sent as they are."""
    if server.failures > 0:
        server.failures -= 1
        return 500, {"error": {"message": "later"}}
    shade = redness(request)
    good = answer(shade, logprobs="logprobs" in request and server.mode == "logprobs")
    choice = good["choices"][0]
    match server.mode:
        case "logprobs" | "samples":
            return 200, good
        case "no-schema" if "response_format" in request:
            return 400, {"error": {"message": "unknown field response_format"}}
        case "no-options" if {"response_format", "logprobs", "seed"} & request.keys():
            return 400, {"error": {"message": "extra fields are not permitted"}}
        case "always-400":
            return 400, {"error": {"message": "no"}}
        case "unsure":
            return 200, answer(shade, word="unsure")
        case "other-word":
            return 200, answer(shade, word="maybe")
        case "prose":
            choice["message"]["content"] = "I think that it worked."
        case "two-objects":
            choice["message"]["content"] = '{"success": "yes"} or {"success": "no"}'
        case "fenced":
            text = choice["message"]["content"]
            choice["message"]["content"] = f"```json\n{text}\n```"
        case "cut":
            choice["finish_reason"] = "length"
        case "half":
            return 200, json.dumps(good).encode()[:40]
        case "not-json":
            return 200, b"<html>busy</html>"
        case "empty":
            return 200, b""
        case "list":
            return 200, b"[]"
        case "deep":
            return 200, b"[" * 100_000
        case "no-choices":
            return 200, {**good, "choices": []}
        case "two-choices":
            return 200, {**good, "choices": [choice, choice]}
        case "same-key-twice":
            choice["message"]["content"] = '{"success": "no", "success": "yes"}'
        case "long-logprobs":
            return 200, _with_tops(shade, [("yes", -(10**1000)), ("no", -(10**1000))])
        case "redirect":
            return 307, {}
        case "null-content":
            choice["message"]["content"] = None
        case "number-content":
            choice["message"]["content"] = 7
        case "odd-usage":
            return 200, {**good, "usage": {"total_tokens": "many"}}
        case "negative-usage":
            return 200, {**good, "usage": {"total_tokens": -5}}
        case "nan-logprobs":
            return 200, _with_tops(shade, [("yes", float("nan")), ("no", float("inf"))])
        case "false-logprobs":  # the two together are far above one
            return 200, _with_tops(shade, [("yes", 0.0), ("no", 0.0)])
        case "contrary-logprobs":
            word = "yes" if shade > 0 else "no"
            other = "no" if word == "yes" else "yes"
            return 200, _with_tops(shade, [(word, -4.0), (other, -0.1)])
        case "text-logprobs":
            good["choices"][0]["logprobs"] = "high"
        case "huge":
            return 200, b" " * (8 * 2**20)
        case "unauthorised":
            return 401, {"error": {"message": "no key"}}
        case "unknown-model":
            return 404, {"error": {"message": "no such model"}}
        case status if status.isdigit():
            return int(status), {"error": {"message": "refused"}}
    return 200, good


def _with_tops(shade: float, tops: list[tuple[str, float]]) -> dict[str, Any]:
    made = answer(shade)
    token = made["choices"][0]["logprobs"]["content"][-1]
    token["top_logprobs"] = [{"token": name, "logprob": value} for name, value in tops]
    return made


@contextmanager
def chat_server(mode: str = "logprobs", *, failures: int = 0) -> Iterator[ChatServer]:
    """Serve on a free port of this machine until the block ends."""
    state = ChatServer(mode=mode, failures=failures)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            request = json.loads(body)
            state.asked.append(request)
            state.keys.append(self.headers.get("authorization", ""))
            if state.mode == "hang-up":
                self.connection.close()
                return
            status, content = replies(state, request)
            sent = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            if status == 307:
                self.send_header("location", "/elsewhere")
            short = 100 if state.mode == "short-body" else 0
            self.send_header("content-length", str(len(sent) + short))
            self.end_headers()
            self.wfile.write(sent)

        def log_message(self, format: str, *args: object) -> None:
            return

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            return

    server = Quiet(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
