"""Import diffusers on first use: it is an optional extra, and slow to import."""

from pathlib import Path
from types import ModuleType
from typing import Any

from worldeval.errors import UserError
from worldeval.world.torchvision_ops import need_torchvision


def need_diffusers(what: str) -> ModuleType:
    """Return the package for `what`. Raises UserError with the install command if it is missing."""
    try:
        import diffusers
    except ImportError as error:
        raise UserError(
            f"{what} needs diffusers, which is not installed: pip install 'worldeval[diffusers]'."
        ) from error
    need_torchvision()
    return diffusers


def read_model(kind: str, home: Path) -> Any:
    """Load a model of class `kind` from a local folder. Raises UserError for unfit files."""
    models = need_diffusers(f"The {kind} in {home}")
    try:
        return getattr(models, kind).from_pretrained(home, local_files_only=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(
            f"{home} does not hold complete weights of a {kind}: {error} Name a folder saved by "
            "diffusers, with config.json and diffusion_pytorch_model.safetensors."
        ) from error
