"""Train on several processes and devices: own rows, complete tensors, device placement."""

import os
from dataclasses import fields, replace
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import parse_flag_from_env
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from worldeval.device import pick_device
from worldeval.errors import UserError


def this_process() -> PartialState:
    """This process among those that accelerate or torchrun started.

    The first call to accelerate decides for all later ones: unless it is told that there is no GPU,
    it takes every process for the only one.
    """
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    without = several and pick_device().type == "cpu"
    return PartialState(cpu=without or parse_flag_from_env("ACCELERATE_USE_CPU"))


def own_rows(count: int) -> slice:
    """Rows of a batch of `count` that belong to this process; all processes draw the same batch.

    The parts are equal, so the mean of the processes' gradients is that of the whole batch. Raises
    UserError if the batch cannot be divided evenly.
    """
    state = this_process()
    share, left = divmod(count, state.num_processes)
    if left:
        raise UserError(
            f"A batch of {count} cannot be divided evenly among {state.num_processes} processes. "
            f"Set trainer.batch to a multiple of {state.num_processes}."
        )
    return slice(share * state.process_index, share * (state.process_index + 1))


def whole(value: Tensor) -> Tensor:
    """Return a tensor with all its shards, gathered if it was sharded over processes."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def shards_of(value: Tensor, like: Tensor) -> Tensor:
    """Shard a whole tensor like `like`; unchanged if `like` is not sharded."""
    value = value.to(like.device)
    if isinstance(like, DTensor):
        return distribute_tensor(value, like.device_mesh, like.placements)
    return value


def on_device(record: Any, net: nn.Module) -> Any:
    """Move a record of tensors, and of such records, to the device of a network."""
    device = next(net.parameters()).device
    return record if device.type == "cpu" else _moved(record, device)


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if value is None:
        return None
    return replace(
        value, **{each.name: _moved(getattr(value, each.name), device) for each in fields(value)}
    )
