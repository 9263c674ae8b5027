"""Keeping a training whole: an interrupted one goes on as if nothing had happened.

One file holds model, optimiser, schedule, averaged weights, step, the generators that the loss
draws its samples from, and torch's own randomness. Shards of several processes are gathered, so a
training goes on with another number of processes too.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_state_dict,
    set_state_dict,
)

from worldeval.errors import UserError
from worldeval.run import whole_file
from worldeval.training.average import Average
from worldeval.training.processes import this_process, whole


@dataclass(frozen=True, kw_only=True)
class Saving:
    """Where and how often a training is kept. `generators` are those that its loss draws from."""

    path: Path
    every: int  # steps; 0 never
    generators: tuple[torch.Generator, ...] = ()


@dataclass(kw_only=True)
class Training:
    """An optimisation under way. `model` and `optimiser` may be sharded or wrapped."""

    model: nn.Module
    optimiser: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    average: Average
    saving: Saving | None
    step: int = 0  # steps done
    smooth: float | None = None  # recent mean of the loss
    _options: StateDictOptions = field(
        default_factory=lambda: StateDictOptions(full_state_dict=True, cpu_offload=True)
    )

    @property
    def due(self) -> bool:
        """Whether this is a step after which the state is kept."""
        every = 0 if self.saving is None else self.saving.every
        return bool(every) and self.step % every == 0

    def keep(self) -> None:
        """Write the state if this is a step to do so."""
        if self.saving is None or not self.due:
            return
        state = self._state(self.saving)  # gathering shards is a task of every process
        if this_process().is_main_process:
            with whole_file(self.saving.path) as draft:
                torch.save(state, draft)
        this_process().wait_for_everyone()

    def go_on(self) -> None:
        """Take up the state that was kept, if there is one."""
        if self.saving is None or not self.saving.path.is_file():
            return
        state = _read(self.saving.path)
        try:
            set_state_dict(
                self.model,
                self.optimiser,
                model_state_dict=state["model"],
                optim_state_dict=state["optimiser"],
                options=StateDictOptions(full_state_dict=True),
            )
            self.schedule.load_state_dict(state["schedule"])
            self.average.take(state["average"], count=state["count"])
            for generator, kept in zip(self.saving.generators, state["generators"], strict=True):
                generator.set_state(kept)
        except (RuntimeError, ValueError, KeyError) as error:
            raise UserError(
                f"{self.saving.path} is the state of another training ({error}). Remove it to "
                "begin anew."
            ) from error
        torch.set_rng_state(state["torch"])
        if state["cuda"] and torch.cuda.is_available():
            torch.cuda.set_rng_state(state["cuda"][0])
        self.step, self.smooth = state["step"], state["smooth"]

    def _state(self, saving: Saving) -> dict[str, Any]:
        model, optimiser = get_state_dict(self.model, self.optimiser, options=self._options)
        return {
            "model": model,
            "optimiser": optimiser,
            "schedule": _plain(self.schedule.state_dict()),
            "average": [whole(value).cpu() for value in self.average.values],
            "count": self.average.count,
            "generators": [generator.get_state() for generator in saving.generators],
            "torch": torch.get_rng_state(),
            "cuda": [torch.cuda.get_rng_state()] if torch.cuda.is_available() else [],
            "step": self.step,
            "smooth": self.smooth,
        }


def _read(path: Path) -> dict[str, Any]:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever the damage leads it to
        raise UserError(
            f"{path} is not a whole state of a training ({error}). Remove it to begin anew."
        ) from error


def _plain(state: dict[str, Any]) -> dict[str, Any]:
    """A schedule's numbers, without the functions that some schedules keep among them."""
    return {key: value for key, value in state.items() if not isinstance(value, Callable)}
