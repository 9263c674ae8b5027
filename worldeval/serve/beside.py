"""A server that loads any LeRobot checkpoint for the process that started it.

    python -m worldeval.serve.beside

It runs in LeRobot's environment, listens only on this machine behind a private token, and ends
with the process that started it.
"""

import asyncio
import json
import os
import sys
from contextlib import redirect_stdout
from threading import Thread

from worldeval import __version__
from worldeval.policy.load import load_policy
from worldeval.policy.protocol import Policy
from worldeval.policy.remote.wire import MessageLimits
from worldeval.serve.server import Server, ServerConfig
from worldeval.serve.shelf import PolicyShelf

TOKEN, MEMORY = "WORLDEVAL_BESIDE_TOKEN", "WORLDEVAL_BESIDE_MEGABYTES"
LEROBOT = "lerobot:"


def main() -> None:
    """Serve until stdin closes; the first line of stdout gives the address."""
    answers = sys.stdout
    Thread(target=_leave_with_stdin, daemon=True).start()
    shelf = PolicyShelf(
        [],
        megabytes=int(os.environ.get(MEMORY, "8192")),
        load=_loaded,
        any_ref=lambda ref: ref.startswith(LEROBOT),
    )
    config = ServerConfig(
        port=0,
        token=os.environ[TOKEN],
        sessions=1024,
        idle=24 * 3600.0,  # the client may imagine for hours between requests
        limits=MessageLimits(message=512 * 2**20),
    )

    def ready(address: str) -> None:
        print(json.dumps({"address": address, "version": __version__}), file=answers, flush=True)

    asyncio.run(Server(shelf, config).run(ready))


def _loaded(ref: str) -> Policy:
    with redirect_stdout(sys.stderr):
        return load_policy(ref)


def _leave_with_stdin() -> None:
    while sys.stdin.buffer.read(1):
        pass
    os._exit(0)


if __name__ == "__main__":
    main()
