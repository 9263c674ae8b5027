"""Load policies from their addresses: a checkpoint, Python code, a server, a built-in.

Heavy imports happen only when needed: a NumPy policy is served without torch.
"""

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from glob import glob, has_magic
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any

from worldeval.errors import UserError, did_you_mean
from worldeval.hub import local
from worldeval.policy.address import Address, read_address
from worldeval.policy.builtin import Random, Zero
from worldeval.policy.labelled import LABELS, USE, labelled
from worldeval.policy.lerobot_checkpoints import CONFIG, MODEL, expanded, located
from worldeval.policy.protocol import Policy
from worldeval.user_code import call_code, load_code, near

BUILTIN: dict[str, Callable[..., Policy]] = {"random": Random, "zero": Zero}
CARD = "policy.json"  # of worldeval checkpoints
WORLD = "world.json"  # of world models


def load_policy(
    ref: str, params: Mapping[str, Any] | None = None, *, trust_pickle: bool = False
) -> Policy:
    """Load the policy at the address `ref` (see address.py); `params` are added to its own.

    A pickle is read only if trusted, because reading one executes its code.

    Raises:
        UserError: nothing is there, it is not a policy, or it does not take the parameters.
    """
    address = _downloaded(read_address(ref, params))
    given = dict(address.params)
    adapter = given.pop("adapter", None)
    labels = {key: given.pop(key) for key in (*LABELS, *USE) if key in given}
    policy = _load(address, given, trust_pickle, labels)
    if adapter is not None:
        from worldeval.policy.adapters.adapted import AdaptedPolicy
        from worldeval.policy.adapters.folder import load_adapter

        policy = AdaptedPolicy(policy, load_adapter(Path(str(adapter))))
    return labelled(policy, labels, ref)


def load_policies(refs: Sequence[str], *, trust_pickle: bool = False) -> list[Policy]:
    """Load every policy that `refs` name; see `expand`."""
    return [load_policy(ref, trust_pickle=trust_pickle) for ref in expand(refs)]


def expand(refs: Sequence[str]) -> list[str]:
    """Expand globs, folders of checkpoints and servers of several policies into single references.

    The order is kept, duplicates are removed, and the parameters are copied to every reference.
    Within a folder, lineages are sorted by name and checkpoints by step.
    """
    found = (one for ref in refs for one in _expand(ref))
    return list(dict.fromkeys(found))


def _load(
    address: Address, params: Mapping[str, Any], trust_pickle: bool, labels: Mapping[str, Any]
) -> Policy:
    place = address.place
    if address.kind == "built-in":
        return _call(place, BUILTIN[place], params)
    if address.kind == "server":
        from worldeval.policy.remote.policy import connect_policy

        own = {key: labels[key] for key in ("name",) if key in labels}
        return connect_policy(place, {**params, **own})
    if address.kind == "lerobot":
        if find_spec("lerobot") is None:
            from worldeval.policy.remote.beside import policy_beside

            return policy_beside(place, params)
        from worldeval.policy.lerobot_policy import LeRobotPolicy

        return _call(place, LeRobotPolicy, {"source": place.removeprefix("lerobot:"), **params})
    if address.kind == "pickle":
        return _unpickle(Path(place), trust_pickle)
    if address.kind == "code":
        return _from_code(place, params, labels)
    if (Path(place) / WORLD).is_file():  # a world model that acts; by name, since it is a layer up
        return _from_code("worldeval.rollout.uwm_policy:load", {"folder": place, **params})
    if params:
        raise UserError(
            f"{place} is a checkpoint, which takes no parameters (got {', '.join(params)})."
        )
    if not (Path(place) / CARD).is_file():
        raise UserError(_missing(Path(place)))
    from worldeval.policy.checkpoint import load

    return load(Path(place))


def _expand(ref: str) -> list[str]:
    address = _downloaded(read_address(ref))
    if address.kind == "checkpoint" and _is_lerobot(address.place):
        places = _lerobot(f"lerobot:{address.place}")
    elif address.kind == "checkpoint":
        places = [(place, {}) for place in _checkpoints(address.place)]
    elif address.kind == "lerobot":
        places = _lerobot(address.place)
    elif address.kind == "server" and "*" in address.place:
        from worldeval.policy.remote.policy import offered

        places = [(place, {}) for place in offered(address.place)]
    else:
        return [ref]
    if len(places) > 1 and "name" in address.params:
        raise UserError(f"{ref} names {len(places)} policies; name= needs exactly one.")
    return [
        str(replace(address, place=place, params={**said, **address.params}))
        for place, said in places
    ]


def _downloaded(address: Address) -> Address:
    """Replace an address on the hub by that of its downloaded files."""
    if address.kind != "hub":
        return address
    return replace(address, kind="checkpoint", place=local(address.place))


def _checkpoints(place: str) -> list[str]:
    if Path(place).is_dir():
        return [str(folder) for folder in _inside(Path(place))] or [place]
    if not has_magic(place):
        return [place]  # keep an invalid address as the user wrote it
    folders = [Path(found) for found in sorted(glob(place)) if Path(found).is_dir()]
    checkpoints = [str(inside) for folder in folders for inside in _inside(folder)]
    if not checkpoints:
        raise UserError(f"No checkpoint matches {place}.{near(Path(place))}")
    return checkpoints


def _is_lerobot(place: str) -> bool:
    """Whether a folder or glob holds LeRobot's checkpoints and none of ours."""
    path = Path(place)
    found = [path] if path.is_dir() else [Path(each) for each in glob(place) if has_magic(place)]
    folders = [folder for folder in found if folder.is_dir()]
    theirs = f"**/{MODEL}/{CONFIG}"
    return not any(map(_inside, folders)) and any(
        (folder.name == MODEL and (folder / CONFIG).is_file())
        or next(folder.glob(theirs), None) is not None
        for folder in folders
    )


def _lerobot(place: str) -> list[tuple[str, dict[str, Any]]]:
    """List single checkpoints' addresses, with a name added where their own is not unique."""
    found = expanded(place.removeprefix("lerobot:"))
    if found is None:
        return [(place, {})]
    places = []
    for one in found:
        own = located(one.folder)
        said = {} if own == one else {"name": one.name, "lineage": one.lineage}
        places.append((f"lerobot:{one.folder}", said))
    return places


def _inside(folder: Path) -> list[Path]:
    """The checkpoints in or below a folder."""
    return [card.parent for card in sorted(folder.glob(f"**/{CARD}"), key=_order)]


def _order(card: Path) -> tuple[str, int, str]:
    folder = card.parent
    digits = "".join(filter(str.isdigit, folder.name))
    return str(folder.parent), int(digits or 0), folder.name


def _from_code(
    ref: str, params: Mapping[str, Any], labels: Mapping[str, Any] = MappingProxyType({})
) -> Policy:
    make = load_code(ref, "policy")
    # The code may also have its own parameters with these names.
    takes = _parameters(make)
    own = {key: value for key, value in labels.items() if key in takes}
    return _call(ref, make, {**params, **own})


def _parameters(make: Callable[..., Any]) -> Collection[str]:
    try:
        return inspect.signature(make).parameters
    except (TypeError, ValueError):  # of some built-in callables
        return ()


def _call(ref: str, make: Callable[..., Any], params: Mapping[str, Any]) -> Policy:
    return _checked(ref, call_code(ref, make, params))


def _checked(ref: str, policy: Any) -> Policy:
    if not isinstance(policy, Policy):
        raise UserError(
            f"{ref} returned a {type(policy).__name__}, which is not a policy: it needs `spec`, "
            "`reset(tasks, seeds)` and `act(observation)` (see worldeval/policy/protocol.py)."
        )
    return policy


def _unpickle(path: Path, trusted: bool) -> Policy:
    if not trusted:
        raise UserError(
            f"{path} is a pickle, and reading one can execute arbitrary code. Save the weights as "
            "safetensors, or pass --trust-pickle if you trust its source."
        )
    if not path.is_file():
        raise UserError(f"There is no file {path}.{near(path)}")
    import torch

    return _checked(str(path), torch.load(path, map_location="cpu", weights_only=False))


def _missing(path: Path) -> str:
    if path.is_dir():
        inside = _inside(path)
        if _is_lerobot(str(path)):
            return f"{path} is LeRobot's; its address is lerobot:{path}."
        if inside:
            return f"{path} contains {len(inside)} checkpoints; name one, such as {inside[0]}."
        return f"{path} contains no checkpoint (no {CARD})."
    if len(path.parts) == 1:
        return f"There is no policy '{path}'.{did_you_mean(str(path), BUILTIN)}"
    return f"There is no checkpoint {path}.{near(path)}"
