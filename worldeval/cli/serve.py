"""`worldeval serve-policy` and `serve-world`: serve policies and world models to other programs."""

import os
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated, Any

import typer

from worldeval.cli.common import SAFETY, Json, Out, Seed, log, verb

Host = Annotated[
    str, typer.Option(help="Address to listen on; 0.0.0.0 means all network interfaces.")
]
Port = Annotated[
    int, typer.Option(help="Port to listen on; 0 selects a free one.", min=0, max=65535)
]
Token = Annotated[
    str,
    typer.Option(
        help="Secret token that clients must send.", envvar="WORLDEVAL_TOKEN", show_default=False
    ),
]
Open = Annotated[
    bool, typer.Option("--open", help="Allow other machines to connect without a token.")
]
Sessions = Annotated[int, typer.Option(help="Maximum number of simultaneous clients.", min=1)]
Megabytes = Annotated[int, typer.Option(help="Maximum size of a message, in MB.", min=1)]
Answer = Annotated[
    float, typer.Option("--timeout", help="Maximum time for one answer, in seconds.", min=0.1)
]
Idle = Annotated[
    float, typer.Option(help="Time after which a silent client is disconnected, in seconds.")
]

NETWORK, EPISODES = "Network", "Episodes"


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    network = ("host", "port", "token", "anybody", "sessions", "max_megabytes", "idle")
    verb(
        app, "serve-policy", serve_policy,
        "worldeval serve-policy runs/bc/step-400 --port 8000",
        "worldeval serve-policy mine.py:make -P chunk=4",
        panels={NETWORK: network, SAFETY: ("trust_pickle",)},
    )  # fmt: skip
    verb(
        app, "serve-world", serve_world,
        "worldeval serve-world models/latent --starts starts.h5 --judge models/judge",
        panels={NETWORK: network, EPISODES: ("horizon", "episodes")},
    )  # fmt: skip


def serve_policy(
    policies: Annotated[
        list[str], typer.Argument(help="Addresses of policies, run folders and globs.")
    ],
    params: Annotated[
        list[str] | None,
        typer.Option("-P", help="Parameter of the policy, as key=value. May be repeated."),
    ] = None,
    keys: Annotated[
        str,
        typer.Option(help="Input names that clients use: droid, libero, or view=key;state=key."),
    ] = "",
    trust_pickle: Annotated[
        bool,
        typer.Option(
            "--trust-pickle",
            help="Load policies that are pickles. Loading one runs whatever code it contains.",
        ),
    ] = False,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    token: Token = "",
    anybody: Open = False,
    sessions: Sessions = 128,
    max_megabytes: Megabytes = 64,
    idle: Idle = 600.0,
    answer: Answer = 600.0,
    memory: Annotated[
        int,
        typer.Option(
            "--memory-megabytes", help="Memory for the weights of loaded policies, in MB.", min=1
        ),
    ] = 8192,
    out: Out = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Serve policies over a websocket, with the protocol of openpi's servers.

    The address of a single policy is `ws://HOST:PORT`. Several policies are loaded on demand:
    `ws://HOST:PORT/NAME` is one of them and `ws://HOST:PORT/*` all of them. `--out` and `--json`
    report the address once the server listens.
    """
    from worldeval.policy.address import with_params
    from worldeval.policy.load import expand, load_policy

    _needed()
    from worldeval.policy.remote.dialect import read_keys
    from worldeval.serve.policy import PolicyService, content_of_ref
    from worldeval.serve.shelf import PolicyShelf, offers

    def load(ref: str) -> Any:
        with redirect_stdout(sys.stderr):  # LeRobot's loading prints; stdout is for the address
            return load_policy(ref, trust_pickle=trust_pickle)

    refs = expand([with_params(ref, params or []) for ref in policies])
    config = _config(host, port, token, anybody, sessions, max_megabytes, idle, answer)
    if len(refs) > 1:
        shelf = PolicyShelf(
            offers(refs), keys=read_keys(keys), seed=seed, megabytes=memory, load=load
        )
        return _run(shelf, config, f"{len(refs)} policies", as_json, out, "/*")
    loaded = load(refs[0])
    service = PolicyService(
        loaded,
        keys=read_keys(keys),
        seed=seed,
        content=content_of_ref(refs[0]),
        again=lambda: load(refs[0]),
    )
    _run(service, config, f"policy {loaded.spec.name}", as_json, out)


def serve_world(
    world: Annotated[str, typer.Argument(help="Folder of a trained world model.")],
    starts: Annotated[Path, typer.Option(help="File of recorded starts.")],
    judge: Annotated[
        Path | None, typer.Option(help="Folder of a trained judge, which determines is_success.")
    ] = None,
    horizon: Annotated[int, typer.Option(help="Number of world frames per episode.", min=1)] = 30,
    episodes: Annotated[int, typer.Option(help="Maximum episodes per session.", min=1)] = 64,
    host: Host = "127.0.0.1",
    port: Port = 8001,
    token: Token = "",
    anybody: Open = False,
    sessions: Sessions = 16,
    max_megabytes: Megabytes = 16,
    idle: Idle = 600.0,
    answer: Answer = 600.0,
    out: Out = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Serve a world model as an environment over a websocket.

    Clients use the gymnasium vector environment worldeval.serve.client.RemoteWorldEnv.
    """
    _needed()
    from worldeval.recipe import shipped
    from worldeval.serve.world import WorldService, load_setting

    setting = load_setting(
        Path(shipped(world)),
        starts=Path(shipped(str(starts))),
        judge=None if judge is None else Path(shipped(str(judge))),
        horizon=horizon,
    )
    service = WorldService(setting, episodes=episodes, seed=seed)
    config = _config(host, port, token, anybody, sessions, max_megabytes, idle, answer)
    _run(service, config, f"world {world}", as_json, out)


def _needed() -> None:
    from importlib.util import find_spec

    from worldeval.errors import UserError

    missing = [name for name in ("msgpack", "websockets") if find_spec(name) is None]
    if missing:
        raise UserError(f"Serving needs {' and '.join(missing)}: pip install 'worldeval[serve]'.")


def _config(
    host: str,
    port: int,
    token: str,
    anybody: bool,
    sessions: int,
    megabytes: int,
    idle: float,
    answer: float,
) -> Any:
    from worldeval.policy.remote.wire import MessageLimits
    from worldeval.serve.server import ServerConfig

    return ServerConfig(
        host=host,
        port=port,
        token=token,
        open=anybody,
        sessions=sessions,
        idle=idle,
        answer=answer,
        limits=MessageLimits(message=megabytes * 2**20),
    )


def _run(
    service: Any, config: Any, what: str, as_json: bool, out: Path | None, path: str = ""
) -> None:
    import asyncio
    import json
    import logging

    from worldeval.errors import UserError
    from worldeval.run import whole_file
    from worldeval.serve.server import Server

    logging.basicConfig(format="%(message)s")

    def ready(address: str) -> None:
        address += path
        facts = {"address": address, "pid": os.getpid(), **service.metadata}
        said = json.dumps(facts)
        if out is not None:
            with whole_file(out) as draft:
                draft.write_text(said + "\n")
        if as_json:
            print(said, flush=True)
        guarded = "with a token" if config.token else "without a token"
        log.print(f"{what} at {address}, {guarded}; press Ctrl-C to stop")

    server = Server(service, config)
    try:
        asyncio.run(server.run(ready))
    except KeyboardInterrupt:
        if server.stuck:  # a thread that never returns would keep this process alive forever
            os._exit(130)
        raise
    except OSError as error:
        raise UserError(f"Cannot listen on {config.host}:{config.port}: {error}.") from error
