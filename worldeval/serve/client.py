"""A world model on another machine, as the backend of an environment here."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from worldeval.axes import Array, Float32
from worldeval.config import build
from worldeval.errors import UserError
from worldeval.policy.remote.connection import Connection, Patience, ServerError
from worldeval.policy.remote.policy import TOKEN
from worldeval.policy.remote.wire import pack
from worldeval.serve.env import WorldVectorEnv
from worldeval.serve.episodes import StepObservation, WorldDescription
from worldeval.serve.world import VERSION


class RemoteEpisodes:
    """A batch of episodes on a `worldeval serve-world`. Mends dropped connections by repeating."""

    def __init__(
        self, url: str, *, token: str | None = None, patience: Patience | None = None
    ) -> None:
        token = os.environ.get(TOKEN, "") if token is None else token
        self._connection = Connection(
            url, token=token, patience=patience, remember=lambda metadata: True
        )
        self.place = _place(url, self._connection.metadata)
        self._url = url

    def begin(self, starts: Sequence[int], seeds: Sequence[int]) -> StepObservation:
        """Episodes at the starts of these numbers."""
        numbers = {"starts": [int(n) for n in starts], "seeds": [int(n) for n in seeds]}
        return self._seen(self._connection.ask(pack({"begin": numbers}), begins=True))

    def step(self, actions: Float32[Array, "b a"]) -> StepObservation:
        """One world frame later."""
        return self._seen(self._connection.ask(pack({"step": actions})))

    def close(self) -> None:
        """End the session."""
        self._connection.close()

    def _seen(self, answer: Mapping[Any, Any]) -> StepObservation:
        try:
            return StepObservation(
                frames={view: answer["frames"][view] for view in self.place.views},
                pose=answer["pose"],
                probability=answer["probability"],
                mended=answer["mended"],
                step=int(answer["step"]),
            )
        except (KeyError, TypeError) as error:
            raise ServerError(f"{self._url} answers without {error}.") from error


class RemoteWorldEnv(WorldVectorEnv):
    """The gymnasium vector environment of a world model at `ws://host:port`."""

    def __init__(self, url: str, *, num_envs: int = 1, token: str | None = None) -> None:
        self._remote = RemoteEpisodes(url, token=token)
        super().__init__(self._remote, num_envs=num_envs)

    def close_extras(self, **kwargs: Any) -> None:
        """End the session."""
        self._remote.close()


def _place(url: str, said: Mapping[Any, Any]) -> WorldDescription:
    if said.get("worldeval-world") != VERSION:
        known = ", ".join(str(key)[:30] for key in said) or "nothing"
        raise UserError(f"{url} serves no world model (its metadata has: {known}).")
    raw = {key: value for key, value in said.items() if key != "worldeval-world"}
    raw["start_tasks"] = np.asarray(raw.get("start_tasks", []), np.int64)
    return build(WorldDescription, raw, where=url)
