"""A world model on another machine as local gymnasium environments.

Needs only NumPy, msgpack, websockets and gymnasium, and nothing else from worldeval.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from worldeval.axes import Array, Float32
from worldeval.policy.remote.connection import Connection, Patience, ServerError
from worldeval.policy.remote.tokens import checked_token, token_for
from worldeval.serve.description import StepObservation, read_description
from worldeval.serve.env import WorldEnv, WorldVectorEnv


class RemoteEpisodes:
    """A batch of episodes on a `worldeval serve-world`. Dropped connections are re-established."""

    def __init__(
        self, url: str, *, token: str | None = None, patience: Patience | None = None
    ) -> None:
        token = token_for(url) if token is None else checked_token(token, "the call")
        self._connection = Connection(
            url, token=token, patience=patience, remember=lambda metadata: True
        )
        self.place = read_description(self._connection.metadata, url)
        self._url = url

    def begin(self, starts: Sequence[int], seeds: Sequence[int]) -> StepObservation:
        """Begin episodes at the starts with these numbers."""
        numbers = {"starts": [int(n) for n in starts], "seeds": [int(n) for n in seeds]}
        return self._seen(self._connection.ask({"begin": numbers}, begins=True), len(starts))

    def step(self, actions: Float32[Array, "b a"]) -> StepObservation:
        """Advance by one world frame."""
        return self._seen(self._connection.ask({"step": actions}), len(actions))

    def close(self) -> None:
        """End the session."""
        self._connection.close()

    def _seen(self, answer: Mapping[Any, Any], episodes: int) -> StepObservation:
        try:
            seen = StepObservation(
                frames={view: answer["frames"][view] for view in self.place.views},
                pose=answer["pose"],
                probability=answer["probability"],
                mended=answer["mended"],
                step=int(answer["step"]),
            )
            parts = (*seen.frames.values(), seen.pose, seen.probability, seen.mended)
            if any(len(part) != episodes for part in parts):
                raise ServerError(f"{self._url} answered for a different number of episodes.")
        except (KeyError, TypeError) as error:
            raise ServerError(f"{self._url} sent an answer without {error}.") from error
        return seen


class RemoteWorldEnv(WorldVectorEnv):
    """The gymnasium vector environment of a world model at `ws://host:port`."""

    def __init__(self, url: str, *, num_envs: int = 1, token: str | None = None, **_: Any) -> None:
        self._remote = RemoteEpisodes(url, token=token)
        super().__init__(self._remote, num_envs=num_envs)

    def close_extras(self, **kwargs: Any) -> None:
        """End the session."""
        self._remote.close()


class RemoteSingleEnv(WorldEnv):
    """One episode in a world model at `ws://host:port`, in its own session."""

    def __init__(
        self, url: str, *, token: str | None = None, render_mode: str = "rgb_array"
    ) -> None:
        self._remote = RemoteEpisodes(url, token=token)
        super().__init__(self._remote)

    def close(self) -> None:
        """End the session."""
        self._remote.close()
