"""LeRobot in an environment of its own: made by one command, started when needed.

LeRobot pins older releases of worldeval's dependencies. If it cannot be imported here, a server in
its own environment (serve/beside.py) loads its checkpoints. The server ends with the process that
started it; child processes use the same server.
"""

import atexit
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import Any
from urllib.parse import quote

import worldeval
from worldeval.errors import UserError
from worldeval.policy.address import Address
from worldeval.policy.remote.policy import RemotePolicy, RemoteRecipe

PLACE, FOLDER = "WORLDEVAL_LEROBOT", ".venv-lerobot"
SERVER = "WORLDEVAL_BESIDE_SERVER"  # its address and token, for child processes
TOKEN = "WORLDEVAL_BESIDE_TOKEN"
START = 120.0  # seconds until the server listens
ANSWER = 600.0  # seconds per answer: policies that sample answer one episode after another
NEEDED = ("msgpack>=1.0.8", "websockets>=15", "pyyaml>=6", "pillow>=10", "gymnasium>=1.0")


def policy_beside(place: str, params: Mapping[str, Any]) -> RemotePolicy:
    """Load the LeRobot checkpoint at `place` with `params` in LeRobot's own environment."""
    own = {key: params[key] for key in ("timeout", "wait") if key in params}
    theirs = {key: value for key, value in params.items() if key not in own}
    url, token = _server()
    ref = str(Address(kind="lerobot", place=place, params=theirs))
    recipe = RemoteRecipe(**{"timeout": ANSWER, "wait": START, **own})
    return RemotePolicy(f"{url}/{quote(ref, safe='')}", recipe, token=token)


def lerobot_python() -> Path:
    """Find the Python of LeRobot's environment.

    Raises:
        UserError: there is none; the message says how to make it.
    """
    named = os.environ.get(PLACE, "")
    for folder in (Path(named),) if named else (Path(FOLDER),):
        python = _python(folder)
        if python.is_file():
            return python
    where = f"{named} ({PLACE})" if named else FOLDER
    raise UserError(
        f"LeRobot is not installed here, and there is no environment for it at {where}. Make one, "
        "which is then used automatically: worldeval env lerobot"
    )


@dataclass(frozen=True, kw_only=True)
class LeRobotEnvironment:
    """What to install, and where."""

    out: Path
    python: str = sys.executable  # LeRobot 0.5 and later need Python 3.12
    version: str = ""  # of LeRobot; "": the newest for this Python
    extras: Sequence[str] = ()  # of LeRobot, needed by some of its policies
    options: Sequence[str] = ()  # for pip

    def make(self, say: Callable[[str], None]) -> Path:
        """Make the environment, or complete it; returns its Python.

        Raises:
            UserError: something cannot be installed; the message says what, in one line.
        """
        python = _python(self.out)
        if not python.is_file():
            say(f"making {self.out} with {self.python}")
            _run([self.python, "-m", "venv", str(self.out)], "no virtual environment")
        wanted = f"lerobot[{','.join(self.extras)}]" if self.extras else "lerobot"
        wanted += f"=={self.version}" if self.version else ""
        say(f"installing {wanted} and what serving needs (several GB the first time)")
        pip = [str(python), "-m", "pip", "install", "--quiet", *self.options]
        _run([*pip, wanted, *NEEDED], f"{wanted} cannot be installed")
        asked = "import sysconfig; print(sysconfig.get_path('purelib'))"
        site = Path(_run([str(python), "-c", asked], "no site-packages").strip())
        _share(site)
        found = _run(
            [str(python), "-c", "import lerobot, worldeval.serve.beside as b; print(b.LEROBOT)"],
            "LeRobot and worldeval do not import together",
        )
        assert found.strip() == "lerobot:"
        return python


def _share(site: Path) -> None:
    """Let the environment import this worldeval: a checkout in place, otherwise a copy."""
    package = Path(worldeval.__file__).parent
    link, copy = site / "worldeval-beside.pth", site / "worldeval"
    if (package.parent / "pyproject.toml").is_file():
        link.write_text(f"{package.parent}\n")
        return
    if copy.is_dir():
        shutil.rmtree(copy)
    shutil.copytree(package, copy, ignore=shutil.ignore_patterns("__pycache__", "recipes"))


def _server() -> tuple[str, str]:
    """Address and token of this process's server, which is started if there is none."""
    if SERVER not in os.environ:
        os.environ[SERVER] = " ".join(_start(lerobot_python()))
    url, _, token = os.environ[SERVER].partition(" ")
    return url, token


def _start(python: Path) -> tuple[str, str]:
    token = secrets.token_urlsafe(24)
    handle, log = tempfile.mkstemp(prefix="worldeval-lerobot-", suffix=".log")
    process = subprocess.Popen(
        [str(python), "-m", "worldeval.serve.beside"],
        env={**os.environ, TOKEN: token},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=handle,
    )
    os.close(handle)
    # Its stdin stays open as long as this process lives, however that ends.
    atexit.register(_stop, process, Path(log))
    said = _first_line(process)
    try:
        ready = json.loads(said)
        address, version = str(ready["address"]), ready["version"]
    except (ValueError, KeyError, TypeError) as error:
        lines = Path(log).read_text(errors="replace").strip().splitlines()
        why = lines[-1][:300] if lines else f"it printed nothing for {START:g} s"
        raise UserError(f"The server in LeRobot's environment did not start: {why}") from error
    if version != worldeval.__version__:
        raise UserError(
            f"LeRobot's environment has worldeval {version}, but this is {worldeval.__version__}. "
            "Update it: worldeval env lerobot."
        )
    return address, token


def _first_line(process: subprocess.Popen) -> bytes:
    out = process.stdout
    assert out is not None
    lines: Queue[bytes] = Queue()
    Thread(target=lambda: lines.put(out.readline()), daemon=True).start()
    try:
        return lines.get(timeout=START)
    except Empty:
        return b""


def _stop(process: subprocess.Popen, log: Path) -> None:
    os.environ.pop(SERVER, None)
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    log.unlink(missing_ok=True)


def _run(command: Sequence[str], problem: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR")] or lines or ["no reason"]
        raise UserError(f"{problem}: {errors[-1].strip()[:300]}")
    return done.stdout


def _python(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
