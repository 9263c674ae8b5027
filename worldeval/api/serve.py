"""Serve policies and world models to other programs, over a websocket.

Loading this module needs neither torch nor pandas: policies in numpy are also served from
environments that have neither.
"""

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worldeval.errors import UserError
from worldeval.policy.address import read_params as read_params
from worldeval.policy.address import with_params
from worldeval.policy.load import expand, load_policy

if TYPE_CHECKING:
    from worldeval.policy.protocol import Policy

Ready = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """Where a server listens, whom it answers, and its limits."""

    host: str = "127.0.0.1"  # 0.0.0.0: all network interfaces
    port: int = 0  # 0: any free port
    token: str = ""  # secret that clients must send
    open: bool = False  # allow other machines to connect without a token
    sessions: int = 16  # maximum number of simultaneous clients
    max_megabytes: int = 64  # maximum size of a message
    idle: float = 600.0  # seconds after which a silent client is disconnected
    answer: float = 600.0  # maximum seconds for one answer


class StuckServer(KeyboardInterrupt):
    """A server was stopped while a call never returned; its thread keeps the process alive."""


def serve_policy(
    policies: Sequence[str | Path],
    *,
    params: Mapping[str, Any] | None = None,
    keys: str = "",
    memory_megabytes: int = 8192,
    trust_pickle: bool = False,
    seed: int = 0,
    options: ServerOptions | None = None,
    ready: Ready = print,
) -> None:
    """Serve policies with the protocol of openpi's servers, until interrupted.

    The address of a single policy is `ws://HOST:PORT`. Several policies are loaded on demand:
    `ws://HOST:PORT/NAME` is one of them and `ws://HOST:PORT/*` all of them.

    Args:
        policies: addresses of policies, run folders and globs.
        params: parameters of the policy, such as `{"chunk": 4}`.
        keys: input names that clients use: `droid`, `libero`, or `view=key;state=key`.
        memory_megabytes: memory for the weights of loaded policies.
        trust_pickle: load pickled policies; loading a pickle executes any code in it.
        seed: random seed.
        options: where to listen, and limits.
        ready: function that is called once the server listens, with its address and metadata.

    Raises:
        UserError: a policy cannot be loaded, or the address cannot be listened on.

    >>> from worldeval.api.serve import ServerOptions, serve_policy
    >>> serve_policy(["runs/bc/step-400"], options=ServerOptions(port=8000))  # doctest: +SKIP
    """
    _needed()
    from worldeval.policy.remote.dialect import read_keys
    from worldeval.serve.policy import PolicyService, content_of_ref
    from worldeval.serve.shelf import PolicyShelf, offers

    def load(ref: str) -> "Policy":
        with redirect_stdout(sys.stderr):  # LeRobot's loading prints; stdout is for the address
            return load_policy(ref, trust_pickle=trust_pickle)

    refs = expand([with_params(str(ref), params or {}) for ref in policies])
    names = read_keys(keys)
    if len(refs) > 1:
        shelf = PolicyShelf(
            offers(refs), keys=names, seed=seed, megabytes=memory_megabytes, load=load
        )
        _serve(shelf, options, f"{len(refs)} policies", ready, path="/*")
        return
    loaded = load(refs[0])
    service = PolicyService(
        loaded,
        keys=names,
        seed=seed,
        content=content_of_ref(refs[0]),
        again=lambda: load(refs[0]),
    )
    _serve(service, options, f"policy {loaded.spec.name}", ready)


def serve_world(
    world: str | Path,
    starts: str | Path,
    *,
    judge: str | Path | None = None,
    horizon: int = 30,
    episodes: int = 64,
    seed: int = 0,
    options: ServerOptions | None = None,
    ready: Ready = print,
) -> None:
    """Serve a world model as an environment, until interrupted.

    Clients use the gymnasium vector environment `worldeval.serve.client.RemoteWorldEnv`.

    Args:
        world: folder of a trained world model.
        starts: file of recorded starts.
        judge: folder of a trained judge, which determines `is_success`.
        horizon: number of world frames per episode.
        episodes: maximum episodes per session.
        seed, options, ready: as in `serve_policy`.

    Raises:
        UserError: a file is missing, or the address cannot be listened on.

    >>> from worldeval.api.serve import ServerOptions, serve_world
    >>> serve_world("models/latent", "starts.h5", judge="models/judge")  # doctest: +SKIP
    """
    _needed()
    from worldeval.recipe import shipped
    from worldeval.serve.world import WorldService, load_setting

    setting = load_setting(
        Path(shipped(str(world))),
        starts=Path(shipped(str(starts))),
        judge=None if judge is None else Path(shipped(str(judge))),
        horizon=horizon,
    )
    service = WorldService(setting, episodes=episodes, seed=seed)
    _serve(service, options, f"world {world}", ready)


def serve_env(address: str, *, options: ServerOptions | None = None, ready: Ready = print) -> None:
    """Serve a simulator, until interrupted; `--truth ws://HOST:PORT` measures policies in it.

    Run it in the Python in which the simulator is installed. Every client has a process of its own.
    Where the simulator needs no task, it is opened once before anything is served.

    Args:
        address: of the simulator, such as `gym:gym_pusht/PushT-v0` or `./sim.py:make`.
        options, ready: as in `serve_policy`.

    Raises:
        UserError: the simulator is not installed or does not open, or the address cannot be
            listened on.

    >>> from worldeval.api.serve import serve_env
    >>> serve_env("./sim.py:make")  # doctest: +SKIP
    """
    _needed()
    from worldeval.envs.address import needs_task, unavailable
    from worldeval.envs.apart import ApartEnvironment
    from worldeval.serve.simulator import SimulatorService

    if problem := unavailable(address):
        raise UserError(problem)
    if not needs_task(address):
        ApartEnvironment(address, task="", size=0, steps_per_frame=1).close()
    _serve(SimulatorService(address), options, f"simulator {address}", ready)


def serve_judge(
    address: str,
    *,
    columns: int = 64,
    options: ServerOptions | None = None,
    ready: Ready = print,
) -> None:
    """Serve a judge of frames, until interrupted; `--judge ws://HOST:PORT` asks it.

    Run it in the Python that the judge needs.

    Args:
        address: of the judge, such as `./mine.py:make` (docs/judges.md).
        columns: number of pose columns that a rule may name.
        options, ready: as in `serve_policy`.

    Raises:
        UserError: it is no judge of frames, or the address cannot be listened on.

    >>> from worldeval.api.serve import serve_judge
    >>> serve_judge("./mine.py:make")  # doctest: +SKIP
    """
    _needed()
    from worldeval.judge.address import read_judge_address
    from worldeval.judge.load import load_frame_judge
    from worldeval.serve.judge import JudgeService

    judge = load_frame_judge(read_judge_address(address), columns=columns)
    _serve(JudgeService(judge), options, f"judge {judge.name}", ready)


def _needed() -> None:
    missing = [name for name in ("msgpack", "websockets") if find_spec(name) is None]
    if missing:
        raise UserError(f"Serving needs {' and '.join(missing)}: pip install 'worldeval[serve]'.")


def _serve(
    service: Any, options: ServerOptions | None, what: str, ready: Ready, *, path: str = ""
) -> None:
    """Serve until interrupted; `what` and `path` complete the facts that `ready` is told."""
    from worldeval.policy.remote.wire import MessageLimits
    from worldeval.serve.server import Server, ServerConfig

    given = options or ServerOptions()
    config = ServerConfig(
        host=given.host,
        port=given.port,
        token=given.token,
        open=given.open,
        sessions=given.sessions,
        idle=given.idle,
        answer=given.answer,
        limits=MessageLimits(message=given.max_megabytes * 2**20),
    )
    logging.basicConfig(format="%(message)s")
    server = Server(service, config)

    def listening(address: str) -> None:
        ready({"address": address + path, "pid": os.getpid(), "serves": what, **service.metadata})

    try:
        asyncio.run(server.run(listening))
    except KeyboardInterrupt:
        if server.stuck:
            raise StuckServer from None
        raise
    except OSError as error:
        raise UserError(f"Cannot listen on {config.host}:{config.port}: {error}.") from error
