"""Serve several policies on one port, each at its own path. They are loaded on request and dropped
when memory is needed.

    ws://host:8000/*             lists them
    ws://host:8000/act/010000    one of them
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from weakref import WeakSet

from worldeval.errors import UserError, did_you_mean
from worldeval.policy.address import read_address
from worldeval.policy.lerobot_checkpoints import located
from worldeval.policy.load import expand, load_policy
from worldeval.policy.protocol import Policy
from worldeval.policy.remote.dialect import POLICIES, VERSION, Keys
from worldeval.serve.policy import PolicyService, PolicySession, content_of_ref, size_of

EVERY = "*"


@dataclass(frozen=True, kw_only=True)
class PolicyOffer:
    """A policy that clients can request."""

    name: str
    ref: str  # its address


def offers(refs: Sequence[str]) -> list[PolicyOffer]:
    """List the policies in globs, run folders and addresses, with names known without loading.

    Raises:
        UserError: two policies have the same name.
    """
    found = [PolicyOffer(name=_name(ref), ref=ref) for ref in expand(refs)]
    twice = [name for name, count in Counter(one.name for one in found).items() if count > 1]
    if twice:
        both = ", ".join(one.ref for one in found if one.name == twice[0])
        raise UserError(f"Two policies are called '{twice[0]}' ({both}). Rename one with name=.")
    return found


class PolicyShelf:
    """A service at the path of every policy."""

    def __init__(
        self,
        offered: Sequence[PolicyOffer],
        *,
        keys: Keys | None = None,
        seed: int = 0,
        megabytes: int = 8192,
        load: Callable[[str], Policy] = load_policy,
        any_ref: Callable[[str], bool] = lambda ref: False,
    ) -> None:
        """Offer policies.

        Args:
            megabytes: of weights loaded at the same time. Policies without sessions are dropped
                first, the least recently used before others.
            load: creates a policy from its address.
            any_ref: which addresses may be requested in addition to the offered ones.
        """
        self._offered = {one.name: one.ref for one in offered}
        self._keys, self._seed, self._load, self._any = keys, seed, load, any_ref
        self._most = megabytes * 2**20
        self._loaded: OrderedDict[str, _Loaded] = OrderedDict()  # least recently used first

    @property
    def metadata(self) -> Mapping[str, Any]:
        return {"worldeval": VERSION, POLICIES: list(self._offered)}

    def session(self) -> Any:
        raise UserError(
            f"There are several policies here; name one in the address, after the port: "
            f"{', '.join(list(self._offered)[:12])}."
        )

    @property
    def loaded(self) -> Collection[str]:
        """Addresses of the policies that are in memory."""
        return self._loaded.keys()

    def at(self, path: str) -> Any:
        """Return the service at a path: a policy's, or the list of names at `/*`.

        Raises:
            UserError: no policy has that name, or the policies in use leave no room for it.
        """
        name = unquote(path.partition("?")[0]).strip("/")
        if name == EVERY:
            return self
        if not name and len(self._offered) == 1:
            name = next(iter(self._offered))
        ref = self._offered.get(name) or (name if name and self._any(name) else "")
        if not ref:
            if not name:
                return self
            raise UserError(f"There is no policy '{name[:80]}'.{did_you_mean(name, self._offered)}")
        if ref not in self._loaded:
            policy = self._load(ref)
            self._make_room(size_of(policy), ref)
            self._loaded[ref] = _Loaded(policy, ref, self._keys, self._seed, self._load)
        self._loaded.move_to_end(ref)
        return self._loaded[ref]

    def _make_room(self, needed: int, ref: str) -> None:
        unused = [ref for ref, one in self._loaded.items() if not one.sessions]
        while sum(one.size for one in self._loaded.values()) + needed > self._most and unused:
            del self._loaded[unused.pop(0)]
        used = sum(one.size for one in self._loaded.values())
        if used and used + needed > self._most:
            raise UserError(
                f"{ref} needs {needed / 2**20:.0f} MB in addition to {used / 2**20:.0f} MB of "
                f"policies in use, but {self._most / 2**20:.0f} MB are allowed "
                "(--memory-megabytes)."
            )


class _Loaded(PolicyService):
    """A policy in memory, with the sessions that use it."""

    def __init__(
        self,
        policy: Policy,
        ref: str,
        keys: Keys | None,
        seed: int,
        load: Callable[[str], Policy],
    ) -> None:
        super().__init__(
            policy,
            keys=keys,
            seed=seed,
            content=content_of_ref(ref),
            again=lambda: load(ref),
        )
        self.size = size_of(policy)
        self.sessions: WeakSet[PolicySession] = WeakSet()

    def session(self) -> PolicySession:
        session = super().session()
        self.sessions.add(session)
        return session


def _name(ref: str) -> str:
    """A policy's name, found without loading it."""
    address = read_address(ref)
    if "name" in address.params:
        return str(address.params["name"])
    if address.kind == "lerobot":
        return located(address.place.removeprefix("lerobot:")).name
    if address.kind == "checkpoint":
        path = Path(address.place).resolve()
        return f"{path.parent.name}/{path.name}"
    return address.place.rpartition("/")[2]
