"""A simulator in a process of its own, which is ended when it hangs and can be started again.

Simulators are third-party code with native libraries: one may crash, hang, or leave its renderer in
a broken state. Here it costs the episode in progress, which `redone` runs again.
"""

import multiprocessing as mp
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from worldeval.axes import Array, Float32
from worldeval.data.columns import Groups
from worldeval.envs.address import open_environment
from worldeval.envs.protocol import EnvFrame
from worldeval.errors import UserError
from worldeval.processes import watch_parent, why_gone

OPENING = 600.0  # seconds that a simulator may take to start
PATIENCE = 300.0  # seconds that a reset or a world frame may take
TRIES = 3  # of one episode

T = TypeVar("T")


class SimulatorFailed(UserError):
    """The simulator was lost again and again in one episode; others may still run."""


class SimulatorLost(Exception):
    """The simulator ended, did not answer, or raised; the episode must be run again."""


@dataclass(frozen=True, kw_only=True)
class EnvFacts:
    """What a simulator says about itself."""

    views: tuple[str, ...]
    action_dim: int  # numbers in the action of a world frame
    steps_per_frame: int
    fps: float  # world frames per second
    object_columns: Groups = ()  # of `EnvFrame.objects`; empty: it does not tell them


class Apart:
    """An object in a process of its own, made there by `make(*given)`.

    It has `facts`, `close()` and methods that `ask` calls. Every call raises `SimulatorLost` if the
    process fails; `restart` then starts another one.
    """

    def __init__(
        self,
        make: Callable[..., Any],
        given: tuple[Any, ...],
        *,
        what: str,
        patience: float = PATIENCE,
    ) -> None:
        """Start the process.

        Args:
            make, given: what is called there; both must be picklable.
            what: a description for error messages.
            patience: seconds that one call may take.

        Raises:
            UserError: as `make`, or the process did not start.
        """
        self._made, self._what, self._patience = (make, given), what, patience
        self._process: BaseProcess | None = None
        self._line: Connection | None = None
        self._begin()

    def ask(self, method: str, *arguments: Any) -> Any:
        """Call a method of the object; its arguments and result are copied."""
        if self._line is None:
            raise SimulatorLost("it was closed")
        with suppress(OSError):  # it has ended; the answer says how
            self._line.send((method, *arguments))
        return self._answer(self._patience)

    def restart(self) -> None:
        """End the process, whatever it is doing, and start another one."""
        self._end()
        self._begin()

    def close(self) -> None:
        if self._line is not None and self._process is not None:
            with suppress(OSError):  # the process is gone already
                self._line.send(("close",))
                self._process.join(5.0)
        self._end()

    def _begin(self) -> None:
        context = mp.get_context("spawn")
        self._line, there = context.Pipe()
        # Not a daemon: simulators may start processes themselves. It ends with its parent.
        self._process = context.Process(target=_serve, args=(there, *self._made), daemon=False)
        self._process.start()
        there.close()
        try:
            self.facts: Any = self._answer(OPENING)
        except SimulatorLost as lost:
            raise UserError(f"{self._what} did not start: {lost}.") from lost

    def _answer(self, patience: float) -> Any:
        assert self._line is not None and self._process is not None
        if not self._line.poll(patience):
            self._end()
            raise SimulatorLost(f"it did not answer within {patience:g} s")
        try:
            answer = self._line.recv()
        except (EOFError, OSError):
            self._process.join()
            code = self._process.exitcode or 0
            self._end()
            raise SimulatorLost(why_gone(code)) from None
        if isinstance(answer, UserError):
            self._end()
            raise answer
        if isinstance(answer, SimulatorLost):
            self._end()
            raise answer
        return answer

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
        if self._line is not None:
            self._line.close()
        self._process = self._line = None


class ApartEnvironment(Apart):
    """The simulator at an address, in a process of its own. See `Environment`.

    Raises:
        UserError: as `open_environment`.
    """

    facts: EnvFacts

    def __init__(
        self,
        address: str,
        *,
        task: str,
        size: int,
        steps_per_frame: int,
        patience: float = PATIENCE,
    ) -> None:
        given = (address, task, size, steps_per_frame)
        super().__init__(_Simulator, given, what=f"The simulator {address}", patience=patience)

    @property
    def views(self) -> tuple[str, ...]:
        return self.facts.views

    @property
    def action_dim(self) -> int:
        return self.facts.action_dim

    @property
    def steps_per_frame(self) -> int:
        return self.facts.steps_per_frame

    @property
    def fps(self) -> float:
        return self.facts.fps

    @property
    def object_columns(self) -> Groups:
        """What the numbers of `EnvFrame.objects` mean; empty if the simulator tells none."""
        return self.facts.object_columns

    def reset(self, seed: int) -> EnvFrame:
        return self.ask("reset", seed)

    def step(self, action: Float32[Array, " a"], *, look: bool = True) -> EnvFrame:
        return self.ask("step", action, look)


def redone(env: Apart, episode: Callable[[], T], what: str) -> T:
    """Return `episode()`, run again from its beginning if the simulator is lost in it.

    Raises:
        SimulatorFailed: the simulator was lost `TRIES` times in the same episode.
    """
    for last in range(TRIES):
        try:
            return episode()
        except SimulatorLost as lost:
            env.restart()
            if last == TRIES - 1:
                raise SimulatorFailed(
                    f"The simulator failed {TRIES} times in {what}: {lost}."
                ) from lost
    raise AssertionError("unreachable")


class _Simulator:
    """The simulator at an address, as `Apart` calls it."""

    def __init__(self, address: str, task: str, size: int, steps: int) -> None:
        self._env = open_environment(address, task=task, size=size, steps_per_frame=steps)

    @property
    def facts(self) -> EnvFacts:
        env = self._env
        return EnvFacts(
            views=tuple(env.views),
            action_dim=env.action_dim,
            steps_per_frame=env.steps_per_frame,
            fps=env.fps,
            object_columns=tuple(getattr(env, "object_columns", ())),
        )

    def reset(self, seed: int) -> EnvFrame:
        return self._checked("reset", self._env.reset(seed))

    def step(self, action: Float32[Array, " a"], look: bool) -> EnvFrame:
        return self._checked("step", self._env.step(action, look=look))

    def close(self) -> None:
        self._env.close()

    def _checked(self, verb: str, frame: Any) -> EnvFrame:
        if not isinstance(frame, EnvFrame):
            raise TypeError(f"{verb} returned a {type(frame).__name__}, not an EnvFrame")
        return frame


def _serve(line: Connection, make: Callable[..., Any], given: tuple[Any, ...]) -> None:
    watch_parent()
    os.dup2(2, 1)  # stdout is for the command's result
    try:
        made = make(*given)
        line.send(made.facts)
        while True:
            verb, *rest = line.recv()
            if verb == "close":
                made.close()
                return
            line.send(getattr(made, verb)(*rest))
    except UserError as error:
        line.send(UserError(str(error)))  # of any subclass, which may not survive the pipe
    except EOFError:
        return
    except BaseException as error:  # also SystemExit and KeyboardInterrupt of its code
        line.send(SimulatorLost(f"it raised {type(error).__name__}: {error}"))
