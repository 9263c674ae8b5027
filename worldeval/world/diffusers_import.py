"""diffusers, imported where it is first needed: it is an extra, and slow to import."""

from pathlib import Path
from types import ModuleType
from typing import Any

from worldeval.errors import UserError
from worldeval.world.torchvision_ops import need_torchvision


def need_diffusers(what: str) -> ModuleType:
    """The package. Raises UserError with the install line where it is missing; `what` needs it."""
    try:
        import diffusers
    except ImportError as error:
        raise UserError(
            f"{what} needs diffusers, which is not installed: pip install 'worldeval[diffusers]'."
        ) from error
    need_torchvision()
    return diffusers


def read_model(kind: str, home: Path) -> Any:
    """The model of class `kind` in a local folder. Raises UserError where its files do not fit."""
    models = need_diffusers(f"The {kind} in {home}")
    try:
        return getattr(models, kind).from_pretrained(home, local_files_only=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(
            f"{home} does not hold whole weights of a {kind}: {error} Give the folder as diffusers "
            "writes it, with config.json and diffusion_pytorch_model.safetensors."
        ) from error
