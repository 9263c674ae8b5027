"""Read recorded frames for a tokenizer: every view, with the indices of task and view."""

from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from worldeval.axes import Array, Int
from worldeval.data.table import RecordedEpisodes
from worldeval.errors import UserError, did_you_mean
from worldeval.world.protocol import ANY_TASK


class TokenizerFrames:
    """The frames of `recorded`, labelled with the `tasks` that a tokenizer distinguishes."""

    def __init__(self, recorded: RecordedEpisodes, tasks: tuple[str, ...]) -> None:
        """
        Raises:
            UserError: an episode's task is not among the tasks.
        """
        self.recorded, self.tasks = recorded, tasks
        self.task: Int[Array, " e"] = np.array(
            [task_place(tasks, head.task) for head in recorded.heads], np.int64
        )

    @cached_property
    def task_of_row(self) -> Int[Array, " n"]:
        """Task index of every frame."""
        return np.repeat(self.task, self.recorded.episodes["length"])

    def rows(self, episodes: Int[Array, " k"]) -> Int[Array, " n"]:
        """Row indices of some episodes."""
        spans = (self.recorded.rows(int(episode)) for episode in episodes)
        return np.concatenate([np.arange(span.start, span.stop) for span in spans])

    def read(self, rows: Int[Array, " n"]) -> tuple[Tensor, Tensor, Tensor]:
        """Read every view's frames (0-1, channels first) at `rows`, with task and view indices."""
        views = self.recorded.views
        frames = np.concatenate([self.recorded.frames(view, rows) for view in views])
        task = torch.from_numpy(np.tile(self.task_of_row[rows], len(views)))
        return to_unit(frames), task, torch.arange(len(views)).repeat_interleave(len(rows))


def task_place(tasks: tuple[str, ...], task: str) -> int:
    """Return a task's index; 0 if tasks are not distinguished. Raises UserError if unknown."""
    if tasks == (ANY_TASK,):
        return 0
    if task not in tasks:
        raise UserError(
            f"The tokenizer was not trained on the task '{task}'.{did_you_mean(task, tasks)}"
        )
    return tasks.index(task)


def to_unit(frames: Array) -> Tensor:
    """Convert uint8 n h w 3 to float 0-1, n 3 h w in channels_last memory."""
    return torch.from_numpy(frames).permute(0, 3, 1, 2).float().div_(255)
