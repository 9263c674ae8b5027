"""Addresses on the Hugging Face Hub: `hf:user/name`, `hf:user/name@revision`, `.../folder`.

Nothing is downloaded unless an address begins with `hf:`. Only data files that worldeval reads are
downloaded, never code or pickles. What was downloaded is in the hub's own cache, by commit, so that
`pinned` gives an address that always means the same files.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from glob import has_magic
from pathlib import Path
from typing import Any, Literal

from worldeval.errors import UserError

Kind = Literal["model", "dataset"]
PREFIX = "hf:"
ADDRESS = re.compile(
    r"hf:(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w.-]+))?(?:/(?P<inside>[^@]+))?"
)
# Kinds of files that are downloaded and uploaded; a star also stands for folders.
FILES: dict[str, tuple[str, ...]] = {
    "model": ("*.json", "*.safetensors", "*.yaml", "*.md", "*.html", "*.h5", "*.sig"),
    "dataset": (
        *("*.json", "*.jsonl", "*.parquet", "*.mp4", "*.h5", "*.hdf5", "*.npz", "*.zarr*"),
        *("*.tfrecord*", "*.csv", "*.yaml", "*.md", "*.png", "*.jpg", "*.jpeg", "*.safetensors"),
    ),
}
NEVER = ("*.pkl", "*.pickle", "*.pt", "*.pth", "*.ckpt", "*.bin", "*.py", "*.so")


@dataclass(frozen=True, kw_only=True)
class HubFiles:
    """Downloaded files."""

    folder: Path
    pinned: str  # address with the commit


def is_hub(address: str) -> bool:
    """Whether an address is on the hub."""
    return address.startswith(PREFIX)


def local(address: str, kind: Kind = "model") -> str:
    """Return the folder of the downloaded files of a hub address; other addresses unchanged.

    Raises:
        UserError: the address is malformed, or its files cannot be downloaded.
    """
    return str(fetched(address, kind).folder) if is_hub(address) else address


def pinned(address: str, kind: Kind = "model") -> str:
    """Return a hub address with the commit that it means now; other addresses unchanged."""
    return fetched(address, kind).pinned if is_hub(address) else address


@cache
def fetched(address: str, kind: Kind = "model") -> HubFiles:
    """Download the files of a hub address, once per process.

    A glob in the address is part of the folder that is returned.

    Raises:
        UserError: the address is malformed, or its files cannot be downloaded.
    """
    parts = ADDRESS.fullmatch(address)
    inside = (parts["inside"] or "").strip("/") if parts else ""
    if parts is None or ".." in Path(inside).parts:
        raise UserError(
            f"{address} is not an address on the Hugging Face Hub. Write hf:user/name, "
            "hf:user/name@revision, or hf:user/name/folder."
        )
    under = f"{inside}/" if inside and not has_magic(inside) else ""
    hub = _hub()
    try:
        root = hub.snapshot_download(
            parts["repo"],
            repo_type=kind,
            revision=parts["revision"],
            allow_patterns=[under + pattern for pattern in FILES[kind]],
            ignore_patterns=list(NEVER),
        )
    except _failures(hub) as error:
        raise UserError(f"{address} cannot be downloaded: {_said(error)}. {ADVICE}") from error
    folder = Path(root, inside)
    if not has_magic(inside) and not folder.is_dir():
        raise UserError(f"{address}: the repository has no folder '{inside}' with files to read.")
    commit = Path(root).name
    return HubFiles(folder=folder, pinned=_address(parts["repo"], commit, inside))


ADVICE = (
    "Check the name and the network; for a private repository, log in with `hf auth login`. With "
    "HF_HUB_OFFLINE=1, only what was downloaded before is used."
)


def origin(folder: str) -> str | None:
    """Return the pinned hub address of a folder in the hub's cache; None for other folders."""
    parts = Path(folder).parts
    for place, part in enumerate(parts[:-2]):
        kind, mark, name = part.partition("--")
        if mark and kind in ("models", "datasets") and parts[place + 1] == "snapshots":
            inside = "/".join(parts[place + 3 :])
            return _address(name.replace("--", "/"), parts[place + 2], inside)
    return None


def recorded(folder: str) -> str:
    """Return how a run records a folder: what is on the hub by its pinned address."""
    return origin(folder) or pinned(folder)


@dataclass(frozen=True, kw_only=True)
class PushedFiles:
    """What was uploaded."""

    address: str  # pinned to the commit
    url: str
    files: tuple[str, ...]


def push(
    files: Sequence[tuple[str, Path | bytes]], repo: str, kind: Kind, *, private: bool, message: str
) -> PushedFiles:
    """Upload files, as (name in the repository, path or content), in one commit.

    Raises:
        UserError: the name is malformed, or the upload fails.
    """
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repo):
        raise UserError(f"'{repo}' is not the name of a repository. Write user/name.")
    hub = _hub()
    try:
        api = hub.HfApi()
        api.create_repo(repo, repo_type=kind, private=private, exist_ok=True)
        done = api.create_commit(
            repo_id=repo,
            repo_type=kind,
            commit_message=message,
            operations=[
                hub.CommitOperationAdd(
                    path_in_repo=name,
                    path_or_fileobj=content if isinstance(content, bytes) else str(content),
                )
                for name, content in files
            ],
        )
    except _failures(hub) as error:
        raise UserError(
            f"The upload to {repo} failed: {_said(error)}. Log in with `hf auth login`, with "
            "a token that may write."
        ) from error
    return PushedFiles(
        address=_address(repo, done.oid, ""),
        url=str(done.commit_url),
        files=tuple(name for name, _ in files),
    )


def sendable(folder: Path, kind: Kind) -> list[Path]:
    """List the files of a folder that are uploaded: the kinds that are also downloaded."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and any(Path(path.name).match(pattern) for pattern in FILES[kind])
        and not any(Path(path.name).match(pattern) for pattern in NEVER)
    )


def _address(repo: str, commit: str, inside: str) -> str:
    return f"{PREFIX}{repo}@{commit}" + (f"/{inside}" if inside else "")


def _hub() -> Any:
    """Import the hub's client, which takes longer than everything else here."""
    import huggingface_hub
    import huggingface_hub.errors

    return huggingface_hub


def _failures(hub: Any) -> tuple[type[Exception], ...]:
    """Errors of the hub (no such repository, gated, offline) and of the network below it."""
    return (OSError, ValueError, getattr(hub.errors, "HTTPError", OSError))


def _said(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
