"""`worldeval serve-policy`, `-world`, `-env` and `-judge`: serve them to other programs."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worldeval.cli.common import SAFETY, Json, Out, Seed, log, verb
from worldeval.files import whole_file

if TYPE_CHECKING:
    from worldeval.api.serve import ServerOptions

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
    verb(
        app, "serve-judge", serve_judge,
        "worldeval serve-judge ./mine.py:make --port 8003",
        panels={NETWORK: network},
    )  # fmt: skip
    verb(
        app, "serve-env", serve_env,
        "worldeval serve-env 'gym:gym_pusht/PushT-v0?obs_type=pixels_agent_pos' --port 8002",
        panels={NETWORK: network},
    )  # fmt: skip


def _options(
    host: str, port: int, token: str, anybody: bool, sessions: int, megabytes: int, idle: float,
    answer: float,
) -> "ServerOptions":  # fmt: skip
    from worldeval.api.serve import ServerOptions

    return ServerOptions(
        host=host,
        port=port,
        token=token,
        open=anybody,
        sessions=sessions,
        max_megabytes=megabytes,
        idle=idle,
        answer=answer,
    )


def serve_env(
    address: Annotated[
        str, typer.Argument(help="Address of the simulator: gym:ID?param=value or ./sim.py:make.")
    ],
    host: Host = "127.0.0.1",
    port: Port = 8002,
    token: Token = "",
    anybody: Open = False,
    sessions: Sessions = 16,
    max_megabytes: Megabytes = 64,
    idle: Idle = 600.0,
    answer: Answer = 600.0,
    out: Out = None,
    seed: Seed = 0,  # every verb takes it; a client gives the seed of every episode
    as_json: Json = False,
) -> None:
    """Serve a simulator over a websocket, from the Python in which it is installed.

    Use it elsewhere as `rank --truth ws://HOST:PORT`, or as `truth: {env: ws://HOST:PORT}` in a
    recipe. Every client has a process of its own.
    """
    from worldeval.api.serve import serve_env as serve

    options = _options(host, port, token, anybody, sessions, max_megabytes, idle, answer)
    with _stopped():
        serve(address, options=options, ready=_teller(as_json, out, guarded=bool(token)))


def serve_judge(
    address: Annotated[
        str, typer.Argument(help="Address of a judge of frames, such as ./mine.py:make.")
    ],
    host: Host = "127.0.0.1",
    port: Port = 8003,
    token: Token = "",
    anybody: Open = False,
    sessions: Sessions = 16,
    max_megabytes: Megabytes = 64,
    idle: Idle = 600.0,
    answer: Answer = 600.0,
    out: Out = None,
    seed: Seed = 0,  # every verb takes it; nothing here is random
    as_json: Json = False,
) -> None:
    """Serve a judge of frames over a websocket, from the Python that it needs.

    Use it elsewhere as `rank --judge ws://HOST:PORT`.
    """
    from worldeval.api.serve import serve_judge as serve

    options = _options(host, port, token, anybody, sessions, max_megabytes, idle, answer)
    with _stopped():
        serve(address, options=options, ready=_teller(as_json, out, guarded=bool(token)))


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
            help="Load policies that are pickles. Loading a pickle executes any code that it "
            "contains.",
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
    from worldeval.api.serve import read_params
    from worldeval.api.serve import serve_policy as serve

    options = _options(host, port, token, anybody, sessions, max_megabytes, idle, answer)
    with _stopped():
        serve(
            policies,
            params=read_params(params or []),
            keys=keys,
            memory_megabytes=memory,
            trust_pickle=trust_pickle,
            seed=seed,
            options=options,
            ready=_teller(as_json, out, guarded=bool(token)),
        )


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
    from worldeval.api.serve import serve_world as serve

    options = _options(host, port, token, anybody, sessions, max_megabytes, idle, answer)
    with _stopped():
        serve(
            world,
            starts,
            judge=judge,
            horizon=horizon,
            episodes=episodes,
            seed=seed,
            options=options,
            ready=_teller(as_json, out, guarded=bool(token)),
        )


def _teller(as_json: bool, out: Path | None, *, guarded: bool) -> Callable[[dict[str, Any]], None]:
    """Return what reports the address once a server listens."""

    def tell(facts: dict[str, Any]) -> None:
        said = json.dumps(facts)
        if out is not None:
            with whole_file(out) as draft:
                draft.write_text(said + "\n")
        if as_json:
            print(said, flush=True)
        token = "with a token" if guarded else "without a token"
        log.print(
            f"{facts['serves']} at {facts['address']}, {token}; press Ctrl-C to stop",
            soft_wrap=True,
        )

    return tell


@contextmanager
def _stopped() -> Iterator[None]:
    """End the process at once if a call of a stopped server never returns."""
    from worldeval.api.serve import StuckServer

    try:
        yield
    except StuckServer:
        os._exit(130)
