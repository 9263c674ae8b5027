"""Addresses of simulators.

- the name of a simulator that ships (simulators.py): the task of the requested name in it.
- `gym:ID?param=value`: any gymnasium environment; gym.py lists the parameters.
- `ws://host:port`: a simulator that `worldeval serve-env` serves, perhaps from another Python.
- `./sim.py:make?param=value`, `package.module:Class`: code that returns an `Environment`.

`{task}` in an address stands for the task's name. Code receives `task=`, `size=` and
`steps_per_frame=` if it takes parameters with these names.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import yaml

from worldeval.envs.protocol import Environment
from worldeval.errors import UserError, did_you_mean
from worldeval.simulators import shipped_simulators, simulator_module
from worldeval.user_code import load_code

GYM = "gym:"
SERVED = ("ws://", "wss://")
# Stands above this folder, because it speaks the protocol of policy servers; loaded when needed.
REMOTE = "worldeval.serve.simulator_client:RemoteEnvironment"
NEEDED = ("views", "action_dim", "steps_per_frame", "fps", "reset", "step", "close")


def open_environment(address: str, *, task: str, size: int, steps_per_frame: int) -> Environment:
    """Open the simulator at `address`, set to one task.

    Args:
        address: see the module's table.
        task: the name that recipes and starts use.
        size: height and width of the images, if the simulator lets one choose.
        steps_per_frame: simulator steps per world frame; the same as in the world model's data.

    Raises:
        UserError: nothing is at the address, it cannot run here, or it is not a simulator.
    """
    place, params = read_env_address(address.replace("{task}", task))
    known = {"task": task, "size": size, "steps_per_frame": steps_per_frame}
    if place in shipped_simulators():
        return _called(place, simulator_module(place).make, known, params)
    if place.startswith(GYM):
        from worldeval.envs.gym import GymEnvironment

        return GymEnvironment(
            place.removeprefix(GYM), params, size=size, steps_per_frame=steps_per_frame
        )
    if place.startswith(SERVED):
        module, name = REMOTE.split(":")
        remote = getattr(import_module(module), name)
        return remote(place, params, task=task, size=size, steps_per_frame=steps_per_frame)
    if is_code(address):
        make = load_code(place, "the simulator")
        taken = inspect.signature(make).parameters
        env = _called(place, make, {k: v for k, v in known.items() if k in taken}, params)
        if not isinstance(env, Environment):
            lacking = [
                name
                for name in (
                    "views",
                    "action_dim",
                    "steps_per_frame",
                    "fps",
                    "reset",
                    "step",
                    "close",
                )
                if not hasattr(env, name)
            ]
            raise UserError(
                f"{place} returned a {type(env).__name__}, which is not a simulator: it lacks "
                f"{', '.join(lacking)} (see worldeval/envs/protocol.py)."
            )
        return env
    raise UserError(_not_an_address(address, place))


def needs_task(address: str) -> bool:
    """Whether the simulator at `address` can only be opened for a task.

    Raises:
        UserError: the address names code that cannot be loaded.
    """
    place, _ = read_env_address(address)
    if "{task}" in address or place in shipped_simulators() or place.startswith(SERVED):
        return True
    if not is_code(address):
        return False
    return "task" in inspect.signature(load_code(place, "the simulator")).parameters


def unavailable(address: str) -> str | None:
    """Say why the simulator at `address` cannot run here, as far as known without starting it."""
    import importlib.util

    place, _ = read_env_address(address)
    if place in shipped_simulators():
        return simulator_module(place).available()
    if place.startswith(GYM) and importlib.util.find_spec("gymnasium") is None:
        return "gymnasium is not installed: pip install 'worldeval[serve]'."
    if place.startswith((GYM, *SERVED)):
        return None
    if not is_code(address):
        return _not_an_address(address, place)
    file = Path(place.rpartition(":")[0])
    if file.suffix == ".py" and "{task}" not in str(file) and not file.expanduser().is_file():
        return f"There is no file {file} with a simulator. Check the path."
    return None


def _not_an_address(address: str, place: str) -> str:
    hint = did_you_mean(place, shipped_simulators())
    return (
        f"'{address}' is not a simulator's address.{hint} Use {', '.join(shipped_simulators())}, "
        "gym:ID, ./file.py:name or ws://host:port."
    )


def read_env_address(address: str) -> tuple[str, dict[str, Any]]:
    """Split an address at `?`; the parameters after it are read as YAML scalars."""
    place, _, query = address.partition("?")
    params = {}
    for pair in (unquote(part) for part in query.split("&") if part):
        key, equals, text = pair.partition("=")
        if not key or not equals:
            raise UserError(f"{address}: the parameter '{pair}' must look like key=value.")
        try:
            params[key] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise UserError(f"{address}: the value of '{key}' is not valid YAML.") from error
    return place, params


def is_code(address: str) -> bool:
    """Whether an address names Python code to be executed."""
    place = address.partition("?")[0]
    return ":" in place and not place.startswith((GYM, *SERVED))


def refuse_env_code(addresses: Iterable[str], where: Path) -> None:
    """Raise UserError if a recipe's or run's file names code, which may be somebody else's."""
    for address in addresses:
        if is_code(address):
            raise UserError(
                f"{where} names Python code to run as a simulator ({address}). Recipes may not run "
                f"code. If you trust it, name it on the command line: --truth '{address}'."
            )


def _called(
    place: str, make: Callable[..., Any], known: Mapping[str, Any], params: Mapping[str, Any]
) -> Any:
    try:
        inspect.signature(make).bind(**{**known, **params})
    except TypeError as error:
        raise UserError(f"{place} does not accept these parameters: {error}.") from error
    return make(**{**known, **params})
