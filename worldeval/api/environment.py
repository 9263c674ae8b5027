"""Separate Python environments for packages that conflict with worldeval."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from worldeval.policy.remote.beside import FOLDER, PLACE, LeRobotEnvironment


@dataclass(frozen=True, kw_only=True)
class MadeEnvironment:
    """An environment in which policies are run."""

    python: Path  # its interpreter
    setting: str | None  # environment variable to set, if worldeval does not find it by itself


def make_lerobot_environment(
    out: str | Path = FOLDER,
    *,
    python: str = "",
    version: str = "",
    extras: Sequence[str] = (),
    pip: Sequence[str] = (),
    say: Callable[[str], None] = print,
) -> MadeEnvironment:
    """Create an environment with LeRobot, in which its checkpoints are run.

    Args:
        out: folder for the environment.
        python: interpreter to use. Default: the one that runs worldeval.
        version: version of LeRobot. Default: the newest compatible one.
        extras: extras of LeRobot that a policy needs, such as `diffusion`.
        pip: options to pass to pip.
        say: function that is called with progress messages.

    Returns:
        The interpreter of the environment, and how to let worldeval find it.

    Raises:
        UserError: a package cannot be installed.

    >>> from worldeval.api.environment import make_lerobot_environment
    >>> make_lerobot_environment(extras=["diffusion"]).python  # doctest: +SKIP
    """
    folder = Path(out)
    wanted = LeRobotEnvironment(
        out=folder,
        python=python or sys.executable,
        version=version,
        extras=tuple(extras),
        options=tuple(pip),
    )
    found = wanted.make(say)
    here = folder.resolve() == Path(FOLDER).resolve()
    return MadeEnvironment(python=found, setting=None if here else f"{PLACE}={folder.resolve()}")
