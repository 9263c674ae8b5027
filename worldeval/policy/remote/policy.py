"""A policy that answers over a websocket: `ws://host:port`, with openpi's protocol."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import quote, unquote, urlsplit
from weakref import finalize

import numpy as np

from worldeval.axes import Array, Float32
from worldeval.config import build
from worldeval.errors import UserError
from worldeval.policy.pictures import picture_form
from worldeval.policy.protocol import PolicySpec
from worldeval.policy.remote.connection import Connection, Patience, ServerError
from worldeval.policy.remote.dialect import POLICIES, Keys, is_ours, read_keys, spoken
from worldeval.policy.remote.tokens import TOKEN, checked_token, token_for
from worldeval.policy.remote.wire import pack
from worldeval.record import Observation

LONGEST_SPACE = 4000  # characters of a robot of many parts


@dataclass(frozen=True, kw_only=True)
class RemoteRecipe:
    """Parameters of an address; those that the server's metadata gives may be left out."""

    name: str = ""  # in tables; default: the server's, or its host and port
    action_dim: int | None = None
    chunk: int | None = None  # steps per answer
    keys: str = ""  # see dialect.read_keys
    space: str = ""  # see data/action_space.py
    history: int = 1  # frames per observation, if the server does not say
    size: str | int = ""  # resize images to 224, or to 240x320
    pad: bool = True  # keep the aspect ratio and pad, as openpi's client does
    bgr: bool = False  # blue first
    timeout: float = 60.0  # seconds per answer
    wait: float = 30.0  # seconds for reaching the server
    # One connection per episode, as every openpi server accepts, or one for the whole batch, which
    # worldeval servers accept too, with results identical to a local policy's.
    sessions: str = "auto"  # auto, batch or episode

    def __post_init__(self) -> None:
        if self.sessions not in ("auto", "batch", "episode"):
            raise ValueError(
                f"sessions '{self.sessions}' is unknown; choose auto, batch or episode"
            )
        if not 1 <= self.history <= 64:
            raise ValueError(f"history {self.history} must be 1 to 64 frames")


class RemotePolicy:
    """A policy on a server. It connects at once, so that a wrong address is reported early."""

    def __init__(self, url: str, recipe: RemoteRecipe | None = None, *, token: str = "") -> None:
        self._recipe = recipe = recipe or RemoteRecipe()
        self._url, self._token = url, token
        self._keys = read_keys(recipe.keys)
        self._form = picture_form(recipe.size, pad=recipe.pad, bgr=recipe.bgr)
        first = self._connect()
        self.metadata = first.metadata
        self._ours = is_ours(self.metadata)
        self._whole = self._ours if recipe.sessions == "auto" else recipe.sessions == "batch"
        self._spec = _spec(url, self.metadata, recipe, self._keys)
        self._connections = [first]
        self._episodes = 0
        # The garbage collector ends the sessions of a policy that is no longer used.
        finalize(self, _close, self._connections)

    @property
    def spec(self) -> PolicySpec:
        return self._spec

    @property
    def reconnections(self) -> int:
        """Number of times a dropped connection was reopened."""
        return sum(connection.reconnections for connection in self._connections)

    def reset(self, tasks: Sequence[str], seeds: Sequence[int]) -> None:
        """Begin a batch of episodes, each in its own session.

        A server of the plain protocol receives no seeds, so its random numbers are not repeatable.
        """
        self._episodes = len(tasks)
        wanted = 1 if self._whole else len(tasks)
        while len(self._connections) > wanted:
            self._connections.pop().close()
        kept = len(self._connections)
        while len(self._connections) < wanted:
            self._connections.append(self._connect())
        if not self._ours:  # in the plain protocol, only a new session begins a new episode
            for connection in self._connections[:kept]:
                connection.renew()
            return
        for number, connection in enumerate(self._connections):
            rows = slice(None) if self._whole else slice(number, number + 1)
            told = {"tasks": list(tasks[rows]), "seeds": [int(seed) for seed in seeds[rows]]}
            connection.ask({"reset": told}, begins=True)

    def act(self, observation: Observation) -> Float32[Array, "b k a"]:
        """Return the server's next chunks. Raises ServerError if it sends none."""
        if len(observation) != self._episodes:
            raise ValueError(
                f"{len(observation)} episodes observed, but reset started {self._episodes}"
            )
        self.settle()
        rows = [None] if self._whole else range(self._episodes)
        for row, connection in zip(rows, self._connections, strict=True):
            connection.send(spoken(observation, row, self._spec, self._keys, self._form))
        answers = [self._actions(connection.receive()) for connection in self._connections]
        return answers[0] if self._whole else np.stack(answers)

    def settle(self) -> None:
        """Raise ServerError if a server sent unrequested answers; called between requests and at
        an episode's end."""
        if not self._ours:  # worldeval servers number their answers
            for connection in self._connections:
                connection.settle()

    def close(self) -> None:
        """End every session."""
        _close(self._connections)

    def _connect(self) -> Connection:
        recipe = self._recipe
        patience = Patience(connect=recipe.wait, request=recipe.timeout)
        return Connection(self._url, token=self._token, patience=patience, remember=is_ours)

    def _actions(self, answer: Mapping[Any, Any]) -> np.ndarray:
        actions = answer.get("actions")
        spec, wanted = self._spec, "(steps, {})"
        if self._whole:
            wanted = f"({self._episodes}, steps, {{}})"
        if not isinstance(actions, np.ndarray) or actions.dtype.kind not in "iuf":
            found = ", ".join(str(key)[:30] for key in answer)
            raise ServerError(f"{self._url} answered with {found}; 'actions' must be an array.")
        fits = actions.ndim == 2 + self._whole and actions.shape[-1] == spec.action_dim
        if not fits or actions.shape[-2] < spec.chunk or len(actions) == 0:
            raise ServerError(
                f"{self._url} answered with actions {actions.shape}, but announced "
                f"{wanted.format(spec.action_dim)} with at least {spec.chunk} steps. "
                "Add action_dim= and chunk= to the address as the server's policy has them."
            )
        if self._whole and len(actions) != self._episodes:
            raise ServerError(
                f"{self._url} answered for {len(actions)} of {self._episodes} episodes."
            )
        return np.asarray(actions[..., : spec.chunk, :], np.float32)


def connect_policy(
    url: str, params: Mapping[str, Any], *, token: str | None = None
) -> RemotePolicy:
    """Connect to the policy at `url`; `params` fill a RemoteRecipe; `token` is its host's."""
    if "token" in params:
        raise UserError(f"A token must not be part of an address: set {TOKEN} instead.")
    recipe = build(RemoteRecipe, params, where=url)
    token = token_for(url) if token is None else checked_token(token, "the call")
    return RemotePolicy(url, recipe, token=token)


def offered(pattern: str) -> list[str]:
    """List addresses of the policies on a worldeval server, `ws://host:8000/*` for all.

    Raises:
        UserError: no policy has a matching name.
    """
    parts = urlsplit(pattern)
    server, wanted = f"{parts.scheme}://{parts.netloc}", unquote(parts.path.strip("/"))
    connection = Connection(f"{server}/*", token=token_for(server))
    connection.close()
    names = connection.metadata.get(POLICIES)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UserError(
            f"The server at {server} does not list its policies, so it is not a `worldeval "
            "serve-policy` server. Name its policies one by one."
        )
    found = [name for name in names if fnmatchcase(name, wanted)]
    if not found:
        raise UserError(f"The server at {server} has no policy '{wanted}'.{_has(names)}")
    return [f"{server}/{quote(name)}" for name in found]


def server_fingerprint(url: str) -> str | None:
    """Hash the metadata of the server at `url`; the hash changes when its policy changes.

    Returns None if the metadata does not identify the policy's content, as with third-party
    servers: name and sizes stay the same when a checkpoint changes.
    """
    connection = Connection(url, token=token_for(url))
    connection.close()
    said = connection.metadata
    known = isinstance(said.get("content"), str) and bool(said["content"])
    return hashlib.sha256(pack(said)).hexdigest()[:12] if known else None


def _spec(url: str, said: Mapping[Any, Any], recipe: RemoteRecipe, keys: Keys) -> PolicySpec:
    """Combine the server's metadata with the address's parameters."""
    views = tuple(keys.views)
    if not views and isinstance(said.get("views"), list):
        views = tuple(str(view) for view in said["views"])
    action_dim = recipe.action_dim or _counted(said, "action_dim")
    chunk = recipe.chunk or _counted(said, "chunk")
    if not views or action_dim is None or chunk is None:
        has = ", ".join(str(key)[:30] for key in said) or "nothing"
        raise UserError(
            f"The server at {url} does not announce the views of its policy, the size of an action "
            f"and the number of steps (its metadata has: {has}). Add them to the address: "
            f"'{url}?keys=droid&action_dim=8&chunk=10' (keys: droid, libero, or "
            "view=key;view=key;state=key)."
        )
    name = recipe.name or _said(said, "name") or urlsplit(url).netloc
    return PolicySpec(
        name=_clean(name),
        lineage=_clean(_said(said, "lineage") or name),
        step=_counted(said, "step") or 0,
        views=views,
        action_dim=action_dim,
        chunk=chunk,
        space=recipe.space or _clean(_said(said, "space"), LONGEST_SPACE),
        fps=_rated(said, "fps"),
        history=_counted(said, "history") or recipe.history,
        replan=_counted(said, "replan"),
        replan_said_by=_clean(_said(said, "replan_said_by")),
    )


def _said(said: Mapping[Any, Any], key: str) -> str:
    """Read a text from the metadata; "" if it is not a text, since it may be an array."""
    value = said.get(key)
    return value if isinstance(value, str) else ""


def _counted(said: Mapping[Any, Any], key: str) -> int | None:
    value = said.get(key)
    return value if type(value) is int and 0 < value < 2**31 else None


def _has(names: Sequence[str]) -> str:
    return f" It has: {', '.join(_clean(name) for name in names[:12])}." if names else ""


def _rated(said: Mapping[Any, Any], key: str) -> float | None:
    value = said.get(key)
    return value if isinstance(value, float) and 0 < value < 1e6 else None


def _clean(text: str, most: int = 120) -> str:
    """Make a name from the network safe to print and store."""
    return "".join(letter for letter in text if letter.isprintable())[:most]


def _close(connections: Sequence[Connection]) -> None:
    for connection in connections:
        connection.close()
