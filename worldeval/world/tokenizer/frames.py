"""Recorded frames as a tokenizer reads them: every view, with the places of its task and view."""

from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from worldeval.axes import Array, Int
from worldeval.data.table import RecordedEpisodes
from worldeval.errors import UserError, did_you_mean
from worldeval.world.protocol import ANY_TASK


class TokenizerFrames:
    """The frames of `recorded`, of the `tasks` that a tokenizer tells apart."""

    def __init__(self, recorded: RecordedEpisodes, tasks: tuple[str, ...]) -> None:
        """
        Raises:
            UserError: an episode is of none of the tasks.
        """
        self.recorded, self.tasks = recorded, tasks
        self.task: Int[Array, " e"] = np.array(
            [task_place(tasks, head.task) for head in recorded.heads], np.int64
        )

    @cached_property
    def task_of_row(self) -> Int[Array, " n"]:
        """The place of every frame's task."""
        return np.repeat(self.task, self.recorded.episodes["length"])

    def rows(self, episodes: Int[Array, " k"]) -> Int[Array, " n"]:
        """The rows of some episodes."""
        spans = (self.recorded.rows(int(episode)) for episode in episodes)
        return np.concatenate([np.arange(span.start, span.stop) for span in spans])

    def read(self, rows: Int[Array, " n"]) -> tuple[Tensor, Tensor, Tensor]:
        """Every view's frames (0-1, channels first) at `rows`, with the places of task and view."""
        views = self.recorded.views
        frames = np.concatenate([self.recorded.frames(view, rows) for view in views])
        task = torch.from_numpy(np.tile(self.task_of_row[rows], len(views)))
        return to_unit(frames), task, torch.arange(len(views)).repeat_interleave(len(rows))


def task_place(tasks: tuple[str, ...], task: str) -> int:
    """The place of a task among those told apart; 0 where all are one. Refuses an unknown one."""
    if tasks == (ANY_TASK,):
        return 0
    if task not in tasks:
        raise UserError(f"The tokenizer never saw the task '{task}'.{did_you_mean(task, tasks)}")
    return tasks.index(task)


def to_unit(frames: Array) -> Tensor:
    """uint8 n h w 3 -> float 0-1, n 3 h w in channels_last memory."""
    return torch.from_numpy(frames).permute(0, 3, 1, 2).float().div_(255)
