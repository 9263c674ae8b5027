"""`worldeval serve-policy`: serve any policy to others with openpi's protocol.

It imports only NumPy, msgpack and websockets itself, so that it can run inside whatever environment
a policy needs.
"""

import copy
import hashlib
import logging
import sys
from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path
from typing import Any

from worldeval.errors import UserError
from worldeval.policy.address import read_address
from worldeval.policy.protocol import Policy
from worldeval.policy.remote.dialect import Keys, announced, reset_of, understood
from worldeval.policy.remote.wire import WireError

log = logging.getLogger("worldeval.serve")


class PolicyService:
    """One policy for many clients: every session has its own state, all share the weights."""

    def __init__(
        self,
        policy: Policy,
        *,
        keys: Keys | None = None,
        seed: int = 0,
        content: str = "",
        again: Callable[[], Policy] | None = None,
    ) -> None:
        """Serve a policy.

        Args:
            policy: freshly loaded; every session begins from its state.
            seed: of the first session whose client sends none, such as an openpi client; later
                sessions count up.
            content: a hash of the policy's files, by which clients notice changes.
            again: loads the policy again, for policies that cannot be copied.
        """
        self._policy, self._keys, self._content = policy, keys or Keys(), content
        self._seeds = count(seed)
        self._shared, self._again = _weights(policy), again

    @property
    def metadata(self) -> Mapping[str, Any]:
        return announced(self._policy.spec, self._content)

    def session(self) -> "PolicySession":
        return PolicySession(self._fresh(), self._keys, next(self._seeds))

    def _fresh(self) -> Policy:
        """Copy the policy as it was loaded, with its own state and shared weights."""
        try:
            return copy.deepcopy(self._policy, {id(part): part for part in self._shared})
        except (
            TypeError,
            RuntimeError,
            NotImplementedError,
        ) as error:  # a lock, a handle
            if self._again is None:
                raise UserError(
                    f"Policy {self._policy.spec.name} cannot be copied for a session: {error}."
                ) from error
            log.info("%s cannot be copied (%s); loading it again", self._policy.spec.name, error)
            return self._again()


class PolicySession:
    """One client's episodes."""

    def __init__(self, policy: Policy, keys: Keys, seed: int) -> None:
        self._policy, self._keys, self._seed = policy, keys, seed
        self._tasks: tuple[str, ...] | None = None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Begin episodes for `reset`; answer everything else, an observation, with actions."""
        if "reset" in request:
            tasks, seeds = reset_of(request)
            self._policy.reset(tasks, seeds)
            self._tasks = tasks
            return {"reset": len(tasks)}
        observation = understood(request, self._policy.spec, self._keys)
        single = isinstance(request.get(self._keys.prompt, ""), str)
        if single and self._tasks != observation.tasks:  # openpi's clients send no reset
            self._policy.reset(observation.tasks, [self._seed])
            self._tasks = observation.tasks
        if observation.tasks != self._tasks:
            begun = 0 if self._tasks is None else len(self._tasks)
            raise WireError(
                f"the observation has {len(observation)} episodes, but 'reset' started {begun}, or "
                "their tasks differ"
            )
        actions = self._policy.act(observation.own())  # what arrived is read-only
        return {"actions": actions[0] if single else actions}


def content_of(place: str, params: Mapping[str, Any] | None = None) -> str:
    """Hash a policy's content: the file or folder it is loaded from, its parameters and its
    adapter; '' if it is not loaded from a file."""
    path = Path(place.removeprefix("lerobot:"))
    if not path.exists():
        path = Path(place.rpartition(":")[0])  # file.py:name
    if not path.is_file() and not (place and path.is_dir() and path != Path()):
        return ""
    given = dict(params or {})
    digest = hashlib.sha256(repr(sorted(given.items())).encode() if given else b"")
    for part in (path, Path(str(given["adapter"])) if "adapter" in given else None):
        for file in () if part is None else _files(part):
            digest.update(file.name.encode() + b"\0")
            digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def content_of_ref(ref: str) -> str:
    """Hash the content of the policy at an address."""
    address = read_address(ref)
    return content_of(address.place, address.params)


def size_of(policy: Policy) -> int:
    """Size of a policy's weights in bytes."""
    seen = {
        id(tensor): tensor.numel() * tensor.element_size()
        for part in _weights(policy)
        for tensor in (*part.parameters(), *part.buffers())
    }
    return sum(seen.values())


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(one for one in path.rglob("*") if one.is_file())


def _weights(policy: Policy) -> list[Any]:
    """The networks in a policy, which sessions can share."""
    if "torch" not in sys.modules:
        return []
    from torch.nn import Module

    found, left, seen = [], [policy], set()
    while left:
        part = left.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, Module):
            found.append(part)
        elif isinstance(part, dict):
            left += part.values()
        elif isinstance(part, list | tuple):
            left += part
        elif type(part).__module__.startswith("worldeval") or hasattr(part, "act"):
            left += getattr(part, "__dict__", {}).values()
    return found
