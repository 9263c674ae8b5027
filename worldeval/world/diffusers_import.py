"""diffusers, imported where it is first needed: it is an extra, and slow to import."""

from types import ModuleType

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
