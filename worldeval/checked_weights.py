"""Weight files with a checksum inside: safetensors, the SHA-256 of the tensors in their header.

Safetensors itself notices a file that was cut short, but no bit that flipped in a tensor: a network
with one wrong weight still runs, and what it says looks right. Files without the checksum (older
ones, and those of others) are read as they are.
"""

import hashlib
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from worldeval.errors import UserError
from worldeval.run import whole_file
from worldeval.written import safetensors_written

if TYPE_CHECKING:
    from torch import Tensor, nn

CHECKSUM = "sha256"  # its key in the header's metadata


def save_checked(path: Path, tensors: Mapping[str, "Tensor"]) -> None:
    """Write tensors, whole or not at all, with their checksum."""
    from safetensors.torch import save_file

    kept = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with whole_file(path) as draft, safetensors_written(draft):
        save_file(kept, draft, metadata={CHECKSUM: digest(kept)})


def load_checked(path: Path) -> dict[str, "Tensor"]:
    """Read tensors, and compare them with their checksum where the file has one.

    Raises:
        UserError: the file is missing, damaged, or not as it was written.
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
        raise UserError(f"{path} is damaged, or no file of weights: {_line(error)}") from error
    if CHECKSUM in metadata and metadata[CHECKSUM] != digest(tensors):
        raise UserError(
            f"{path} is damaged: its weights differ from their checksum. Take the file from a "
            "copy, or train it again."
        )
    return tensors


def fill(module: "nn.Module", state: Mapping[str, "Tensor"], where: Path) -> None:
    """Load weights strictly; errors name the file."""
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise misfit(where, error) from error


def misfit(where: Path, error: RuntimeError) -> UserError:
    """Turn torch's error about weights that do not fit into one line that names their file."""
    return UserError(
        f"{where} does not match its model card: {_line(error)}. Take both files from one copy."
    )


@contextmanager
def described(card: Path) -> Iterator[None]:
    """Build a network from its card inside; sizes that none can have are one line.

    Raises:
        UserError: torch made no network of these sizes.
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
            f"{card} describes no network that can be built: {_line(error)}. Take it from a copy."
        ) from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:400]


def digest(tensors: Mapping[str, "Tensor"]) -> str:
    """SHA-256 of names, kinds, shapes and values, in the order of the names."""
    import torch

    found = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        found.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()
