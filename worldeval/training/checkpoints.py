"""Checkpoint a training run, so that an interrupted one resumes as if nothing had happened.

One file holds the model, optimiser, schedule, averaged weights, step, the generators from which the
loss draws its samples, and torch's own random state. Shards of several processes are gathered, so
training may also resume with another number of processes.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_state_dict,
    set_state_dict,
)

from worldeval.errors import UserError
from worldeval.files import whole_file
from worldeval.training.average import Average
from worldeval.training.processes import this_process, whole


@runtime_checkable
class Resumable(Protocol):
    """A source of samples that continues from its state: a torch generator, or `Ahead`."""

    def get_state(self) -> Tensor: ...

    def set_state(self, state: Tensor, /) -> Any: ...


@dataclass(frozen=True, kw_only=True)
class Saving:
    """Where and how often a training run is saved. The loss draws from `generators`."""

    path: Path
    every: int  # steps; 0: never
    generators: tuple[Resumable, ...] = ()


@dataclass(kw_only=True)
class Training:
    """An optimisation in progress. `model` and `optimiser` may be sharded or wrapped."""

    model: nn.Module
    optimiser: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    average: Average
    saving: Saving | None
    step: int = 0  # completed steps
    smooth: float | None = None  # recent mean of the loss
    _options: StateDictOptions = field(
        default_factory=lambda: StateDictOptions(full_state_dict=True, cpu_offload=True)
    )

    @property
    def due(self) -> bool:
        """Whether the state is saved after this step."""
        every = 0 if self.saving is None else self.saving.every
        return bool(every) and self.step % every == 0

    def keep(self) -> None:
        """Save the state if it is due at this step."""
        if self.saving is None or not self.due:
            return
        state = self._state(self.saving)  # every process takes part in gathering shards
        if this_process().is_main_process:
            with whole_file(self.saving.path) as draft:
                torch.save(state, draft)
        this_process().wait_for_everyone()

    def go_on(self) -> None:
        """Resume from the saved state, if there is one."""
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
                f"{self.saving.path} is the state of a different training run ({error}). Remove it "
                "to start from scratch."
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
    except Exception as error:  # torch raises many types of errors for damaged files
        raise UserError(
            f"{path} is not a complete training state ({error}). Remove it to start from scratch."
        ) from error


def _plain(state: dict[str, Any]) -> dict[str, Any]:
    """A schedule's numbers, without the functions that some schedules store among them."""
    return {key: value for key, value in state.items() if not isinstance(value, Callable)}
