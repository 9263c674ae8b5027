"""`worldeval serve-env`: serve a simulator, which may need another Python than worldeval's user.

server: {"worldeval-env": 1, "numbered": true, "address": text}
client: {"open": {"task": text, "size": pixels, "steps": simulator steps per world frame}}
server: {"views", "action_dim", "steps", "fps"}
client: {"reset": {"seed": number, and what "open" has}}
server: {"frames": {view: uint8 (h w 3)}, "pose": float32 (p), "success", "over"}
client: {"step": float32 (a), "look": bool}  ->  the same; or {"lost": text} if it failed
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from worldeval.envs.apart import ApartEnvironment, SimulatorLost
from worldeval.envs.protocol import EnvFrame
from worldeval.policy.remote.connection import NUMBERED
from worldeval.policy.remote.wire import WireError

MARK, VERSION = "worldeval-env", 1  # identify a server of simulators
LARGEST = 2**14  # of a size or a number of steps that a client may ask for


class SimulatorService:
    """The simulator at an address for many clients; every session has its own process."""

    def __init__(self, address: str) -> None:
        self._address = address

    @property
    def metadata(self) -> Mapping[str, Any]:
        return {MARK: VERSION, NUMBERED: True, "address": self._address}

    def session(self) -> "SimulatorSession":
        return SimulatorSession(self._address)


class SimulatorSession:
    """One client's simulator. Its process ends with the session."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._env: ApartEnvironment | None = None
        self._set: tuple[str, int, int] | None = None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer `open`, `reset` or `step`."""
        try:
            if "open" in request:
                env = self._opened(request["open"])
                return {
                    "views": list(env.views),
                    "action_dim": env.action_dim,
                    "steps": env.steps_per_frame,
                    "fps": env.fps,
                }
            if "reset" in request:
                asked = request["reset"]
                return _told(self._opened(asked).reset(_whole(asked, "seed", 2**32 - 1)))
            action = request.get("step")
            if not isinstance(action, np.ndarray) or action.dtype.kind != "f" or action.ndim != 1:
                raise WireError(
                    "a request must contain 'open', 'reset', or 'step' with a float array (a)"
                )
            if self._env is None or len(action) != self._env.action_dim:
                raise WireError(
                    "'step' needs a simulator that was reset, and an action of its size"
                )
            look = request.get("look") is not False
            return _told(self._env.step(action.astype(np.float32), look=look))
        except SimulatorLost as lost:
            self._env = self._set = None  # the next reset starts another process
            return {"lost": str(lost)}

    def _opened(self, asked: Any) -> ApartEnvironment:
        if not isinstance(asked, dict) or not isinstance(asked.get("task"), str):
            raise WireError("'open' and 'reset' must be maps with task, size and steps")
        wanted = (asked["task"], _whole(asked, "size", LARGEST), _whole(asked, "steps", LARGEST))
        if self._env is None or self._set != wanted:
            if self._env is not None:
                self._env.close()
            task, size, steps = self._set = wanted
            self._env = ApartEnvironment(
                self._address, task=task, size=size, steps_per_frame=max(steps, 1)
            )
        return self._env


def _told(frame: EnvFrame) -> dict[str, Any]:
    return {
        "frames": dict(frame.frames),
        "pose": frame.pose,
        "success": bool(frame.success),
        "over": bool(frame.over),
    }


def _whole(asked: Mapping[str, Any], key: str, most: int) -> int:
    value = asked.get(key)
    if type(value) is not int or not 0 <= value <= most:
        raise WireError(f"'{key}' must be an integer from 0 to {most}")
    return value
