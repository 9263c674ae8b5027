"""Load code that a user names: `./file.py:name` or `package.module:name`.

Only code named on the command line is loaded, because recipes and run folders may be shared.
"""

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from worldeval.errors import UserError, did_you_mean


def load_code(ref: str, what: str) -> Any:
    """Load the object that `ref` names; `what` is its role in error messages, such as policy.

    Raises:
        UserError: there is no such file, module or name.
    """
    place, _, name = ref.rpartition(":")
    module = _of_file(Path(place)) if place.endswith(".py") else _of_name(place, ref, what)
    if not hasattr(module, name):
        known = [key for key, value in vars(module).items() if callable(value) and key[0] != "_"]
        raise UserError(f"{place} has no '{name}'.{did_you_mean(name, known)}")
    return getattr(module, name)


def call_code(ref: str, make: Callable[..., Any], params: Mapping[str, Any]) -> Any:
    """Call code that a user named with the parameters of its address.

    Raises:
        UserError: it does not accept them, or a parameter annotated as `str` is no text; errors of
            the code itself are raised as they are.
    """
    try:
        bound = inspect.signature(make).bind(**params)
    except TypeError as error:
        raise UserError(
            f"{ref} cannot be created with {dict(params)}: {error}. Its signature is "
            f"{inspect.signature(make)}; pass parameters as key=value."
        ) from error
    for name, value in bound.arguments.items():
        wanted = bound.signature.parameters[name].annotation
        if wanted in (str, "str") and not isinstance(value, str):
            raise UserError(
                f"{ref}: {name} is {value!r}, which is not text. Addresses are read as YAML, where "
                f"off, no, yes and 1 are not words; quote it: {name}='...'."
            )
    return make(**params)


def near(path: Path) -> str:
    """Suggest names in the nearest existing parent folder of `path`."""
    wrong, parent = path, path.parent
    while not parent.is_dir():
        wrong, parent = parent, parent.parent
    hint = did_you_mean(wrong.name, [found.name for found in parent.iterdir()])
    return f" In {parent}:{hint}" if hint else f" {parent} is empty."


def _of_name(name: str, ref: str, what: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise UserError(
                f"There is no module '{name}' for {what} {ref}. Install it or set PYTHONPATH; "
                "for a file, write ./file.py:name."
            ) from error
        raise


def _of_file(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"worldeval_user_{path.stem}", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise UserError(f"There is no file {path}.{near(path)}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses of the file look themselves up there
    spec.loader.exec_module(module)
    return module
