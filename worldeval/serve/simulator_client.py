"""A simulator on a `worldeval serve-env`, used like one that runs here.

Needs only NumPy, msgpack and websockets, and nothing that the simulator needs.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from worldeval.axes import Array, Float32
from worldeval.envs.apart import SimulatorLost
from worldeval.envs.protocol import EnvFrame
from worldeval.errors import UserError
from worldeval.policy.remote.connection import Connection, Patience, ServerError
from worldeval.policy.remote.tokens import token_for
from worldeval.serve.simulator import MARK, VERSION

PARAMS = ("timeout",)  # of an address; the others belong to the served simulator's own address


class RemoteEnvironment:
    """The simulator at `ws://host:port`. See `Environment`.

    Raises:
        UserError: the server cannot be reached or serves no simulator.
        SimulatorLost: by `reset` and `step`: the simulator failed on its server.
    """

    def __init__(
        self, url: str, params: Mapping[str, Any], *, task: str, size: int, steps_per_frame: int
    ) -> None:
        unknown = [name for name in params if name not in PARAMS]
        if unknown:
            raise UserError(
                f"{url} takes no parameter '{unknown[0]}' (there is: {', '.join(PARAMS)}). Give "
                "the simulator its own where it is served: worldeval serve-env ADDRESS?..."
            )
        self._url = url
        self._connection = Connection(
            url,
            token=token_for(url),
            patience=Patience(connect=30.0, request=float(params.get("timeout", 600.0))),
            remember=lambda metadata: True,
        )
        if self._connection.metadata.get(MARK) != VERSION:
            known = ", ".join(str(key)[:30] for key in self._connection.metadata) or "nothing"
            raise UserError(f"{url} does not serve a simulator (its metadata has: {known}).")
        self._set = {"task": task, "size": size, "steps": steps_per_frame}
        facts = self._asked({"open": self._set}, begins=True)
        try:
            self._views = tuple(str(view) for view in facts["views"])
            self._action_dim, self._steps = int(facts["action_dim"]), int(facts["steps"])
            self._fps = float(facts["fps"])
        except (KeyError, TypeError, ValueError) as error:
            raise ServerError(f"{url} sent an invalid description: {error}.") from error

    @property
    def views(self) -> tuple[str, ...]:
        return self._views

    @property
    def action_dim(self) -> int:
        return self._action_dim

    @property
    def steps_per_frame(self) -> int:
        return self._steps

    @property
    def fps(self) -> float:
        return self._fps

    def reset(self, seed: int) -> EnvFrame:
        return self._frame(self._asked({"reset": {**self._set, "seed": int(seed)}}, begins=True))

    def step(self, action: Float32[Array, " a"], *, look: bool = True) -> EnvFrame:
        return self._frame(self._asked({"step": np.asarray(action, np.float32), "look": look}))

    def close(self) -> None:
        self._connection.close()

    def _asked(self, request: Mapping[str, Any], *, begins: bool = False) -> dict[Any, Any]:
        answer = self._connection.ask(request, begins=begins)
        if "lost" in answer:
            raise SimulatorLost(str(answer["lost"]))
        return answer

    def _frame(self, answer: Mapping[Any, Any]) -> EnvFrame:
        try:
            return EnvFrame(
                frames={str(view): np.array(frame) for view, frame in answer["frames"].items()},
                pose=np.array(answer["pose"], np.float32),
                success=bool(answer["success"]),
                over=bool(answer["over"]),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ServerError(f"{self._url} sent an answer without {error}.") from error
