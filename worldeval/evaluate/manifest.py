"""Fingerprints of a run's world model, judge, policies and protocol."""

import hashlib
import importlib.util
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from worldeval.evaluate.policies import policy_cards
from worldeval.judge.learned import CARD as JUDGE_CARD
from worldeval.judge.load import judge_folder, judge_hash
from worldeval.policy.address import read_address, refuse_code
from worldeval.policy.load import expand
from worldeval.rollout.recipe import ProtocolRecipe
from worldeval.runs.manifest import Manifest, PolicyRecord, read_manifest
from worldeval.runs.paths import RunPaths
from worldeval.world.load import CARD as WORLD_CARD
from worldeval.world.load import DYNAMICS, world_hash
from worldeval.world.training.prepare import TOKENIZER

# Keys of a protocol's recipe that may differ between commands on one run folder. World and judge
# are identified by their content, not by their location.
FREE = (
    "summary",
    "policies",
    "starts",
    "starts_file",
    "replays",
    "recordings",
    "batch",
    "margin",
    "world",
    "judge",
)

# Parameters of a server's address that do not affect actions.
PATIENCE = ("timeout", "wait")


def manifest_of(recipe: ProtocolRecipe, refs: Mapping[str, str], *, seed: int) -> Manifest:
    """Build the manifest of the current files; `refs` maps every policy's name to its address."""
    protocol = {key: value for key, value in asdict(recipe).items() if key not in FREE}
    return Manifest(
        seed=seed,
        world=world_hash(Path(recipe.world)) if Path(recipe.world, WORLD_CARD).is_file() else "",
        judge=_judge(recipe.judge),
        # In the form read back from the file, since JSON has no tuples.
        protocol={key: _plain(value) for key, value in protocol.items()},
        policies={name: PolicyRecord(ref=ref, hash=fingerprint(ref)) for name, ref in refs.items()},
    )


def _judge(ref: str) -> str:
    """Fingerprint the judge at an address; "" for a folder that is not there."""
    folder = judge_folder(ref)
    if not ref or (folder is not None and not (folder / JUDGE_CARD).is_file()):
        return ""
    return judge_hash(ref)


def grown(recipe: ProtocolRecipe, run: Path, *, trust_pickle: bool = False) -> ProtocolRecipe:
    """Append the run folder's other policies to those of the recipe.

    Raises:
        UserError: one of these is Python code, which only the user may name.
    """
    earlier = read_manifest(run)
    if earlier is None:
        return recipe
    asked = expand(recipe.policies)
    others = {name: tried.ref for name, tried in earlier.policies.items() if tried.ref not in asked}
    if not others:
        return recipe
    # A policy may have moved, so it is identified by its name.
    named = set(policy_cards(asked, trust_pickle=trust_pickle)["policy"])
    more = [ref for name, ref in others.items() if name not in named]
    refuse_code(more, RunPaths(run).manifest)
    return replace(recipe, policies=(*asked, *more))


def fingerprint(ref: str) -> str | None:
    """Hash the files behind a policy's address, and its parameters.

    For Python code, this covers the one named file but not what it imports; for a server, what it
    reports about its policy's files. An adapter's files are included. None if the files cannot be
    reached.
    """
    address = read_address(ref)
    params = dict(address.params)
    adapter = str(params["adapter"]) if params.get("adapter") else ""
    beside = (_files("checkpoint", adapter) or []) if adapter else []
    if address.kind == "server":
        from worldeval.policy.remote.policy import server_fingerprint  # an extra, for servers only

        said, files = server_fingerprint(address.place), []
        if said is None:
            return None
        params = {"": said, **{key: v for key, v in params.items() if key not in PATIENCE}}
    else:
        files = _files(address.kind, address.place)
        if files is None:
            return None
    digest = hashlib.sha256(repr(sorted(params.items())).encode())
    for path in (*files, *beside):
        digest.update(path.name.encode() + b"\0")
        digest.update(path.read_bytes())
    if address.kind == "built-in":  # identified by its name and parameters
        digest.update(address.place.encode())
    return digest.hexdigest()[:12]


def _files(kind: str, place: str) -> list[Path] | None:
    """List the files of an address: none for a built-in, None if they cannot be reached."""
    if kind == "built-in":
        return []
    if kind == "code":
        module = place.rpartition(":")[0]
        if module.endswith(".py"):
            return [Path(module)] if Path(module).is_file() else None
        found = importlib.util.find_spec(module)
        origin = Path(found.origin) if found is not None and found.origin else None
        return [origin] if origin is not None and origin.is_file() else None
    path = Path(place.removeprefix("lerobot:"))
    if path.is_file():
        return [path]
    if (path / WORLD_CARD).is_file():  # a world model that acts; encoded data may be stored with it
        names = (WORLD_CARD, TOKENIZER, DYNAMICS)
        return [path / name for name in names if (path / name).is_file()]
    if path.is_dir():
        return sorted(one for one in path.rglob("*") if one.is_file())
    return None


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value
