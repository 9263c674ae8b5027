"""Weight files with a checksum: safetensors with the SHA-256 of the tensors in the header.

Safetensors detects a truncated file, but not a flipped bit in a tensor, and a network
with one wrong weight still runs and looks plausible. Files without a checksum (older
ones, and those of other programs) are read without this check.
"""

import hashlib
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from worldeval.errors import UserError
from worldeval.files import whole_file
from worldeval.written import safetensors_written

if TYPE_CHECKING:
    from torch import Tensor, nn

CHECKSUM = "sha256"  # its key in the header's metadata


def save_checked(path: Path, tensors: Mapping[str, "Tensor"]) -> None:
    """Write tensors atomically, with their checksum."""
    from safetensors.torch import save_file

    kept = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with whole_file(path) as draft, safetensors_written(draft):
        save_file(kept, draft, metadata={CHECKSUM: digest(kept)})


def load_checked(path: Path) -> dict[str, "Tensor"]:
    """Read tensors, and verify their checksum if the file has one.

    Raises:
        UserError: the file is missing or damaged, or has changed since it was written.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise UserError(f"{path} does not exist.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    # A damaged header leads the library to errors of many kinds.
    except (SafetensorError, OSError, ValueError, RuntimeError, LookupError, TypeError,
            ArithmeticError, MemoryError, AttributeError) as error:  # fmt: skip
        raise UserError(
            f"{path} is damaged, or is not a file of weights: {_line(error)}"
        ) from error
    if CHECKSUM in metadata and metadata[CHECKSUM] != digest(tensors):
        raise UserError(
            f"{path} is damaged: its weights differ from their checksum. Restore the file from a "
            "copy, or train again."
        )
    return tensors


def fill(module: "nn.Module", state: Mapping[str, "Tensor"], where: Path) -> None:
    """Load weights strictly; errors name the file."""
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise misfit(where, error) from error


def misfit(where: Path, error: RuntimeError) -> UserError:
    """Convert torch's error about mismatched weights to one line that names the file."""
    return UserError(
        f"{where} does not match its model card: {_line(error)}. Restore both files from one copy."
    )


@contextmanager
def described(card: Path) -> Iterator[None]:
    """Build a network from its card inside the context; impossible sizes give a one-line error.

    Raises:
        UserError: torch cannot build a network of these sizes.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Initializing zero-element tensors")
            yield
    except (
        RuntimeError,
        ValueError,
        TypeError,
        ArithmeticError,
        MemoryError,
        LookupError,
    ) as error:
        raise UserError(
            f"{card} describes a network that cannot be built: {_line(error)}. Restore it from a "
            "copy."
        ) from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:400]


def digest(tensors: Mapping[str, "Tensor"]) -> str:
    """Compute the SHA-256 of names, dtypes, shapes and values, in the order of the names."""
    import torch

    found = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        found.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()
