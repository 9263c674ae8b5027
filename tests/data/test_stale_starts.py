"""First frames that show another scene are found, whatever the reason; sound ones are not."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from worldeval.data.check.check import check
from worldeval.data.source import Head, Rows, Source, SourceSpec

LENGTH, SIDE = 24, 48
TASKS = ("push", "pull")


class Scenes(Source):
    """Twenty episodes of an arm that starts from rest, beside a block that it never touches."""

    def __init__(self) -> None:
        self.spec = SourceSpec(
            format="memory",
            path=Path("memory"),
            fps=10.0,
            views={"top": (SIDE, SIDE)},
            action_names=("x",),
            pose_names=("x",),
        )
        self.findings = []
        self.heads = [
            Head(id=str(i), length=LENGTH, task=TASKS[i % 2], success=i % 3 == 0) for i in range(20)
        ]
        rng = np.random.default_rng(0)
        self.speed, self.place = rng.uniform(0.5, 1, 20), rng.integers(4, 40, 20)
        self.pictures = [self._picture(i) for i in range(20)]

    def arm(self, index: int) -> np.ndarray:
        return self.speed[index] * 1.5 * np.maximum(np.arange(LENGTH) - 1, 0)

    def _picture(self, index: int) -> np.ndarray:
        across = np.arange(SIDE)
        bump = np.exp(-(((across - 6 - self.arm(index)[:, None]) / 4) ** 2))
        frames = np.full((LENGTH, SIDE, SIDE, 3), 60.0)
        frames[:, :16] += 150 * bump[:, None, :, None]
        at = self.place[index]
        frames[:, 30:40, at : at + 8] = 220
        return frames.astype(np.uint8)

    def rows(self, index: int) -> Rows:
        pose = self.arm(index)[:, None].astype(np.float32)
        return Rows(
            actions=np.append(pose[1:], pose[-1:], 0), pose=pose, times=np.arange(LENGTH) / 10
        )

    def frames(self, index: int, view: str, rows=None):
        frames = self.pictures[index]
        return frames if rows is None else frames[rows]


def object_where_it_was(source: Scenes, index: int) -> None:
    block = slice(30, 40)
    source.pictures[index][0, block] = np.roll(source.pictures[index][0, block], 15, axis=1)


def frame_of_the_episode_before(source: Scenes, index: int) -> None:
    source.pictures[index][0] = source.pictures[index - 1][-1]


def empty_table(source: Scenes, index: int) -> None:
    source.pictures[index][0, 30:40] = 60


def stale(source: Scenes) -> list[str]:
    found = [each for each in check(source) if each.code == "stale-start"]
    tasks = {head.id: head.task for head in source.heads}
    assert all(tasks[each.episode or ""] in each.text or "few" in each.text for each in found)
    return [each.text for each in found]


def test_sound_recordings_are_not_reported() -> None:
    assert not stale(Scenes())


@pytest.mark.parametrize("spoil", [object_where_it_was, frame_of_the_episode_before, empty_table])
def test_stale_first_frames_are_reported(spoil) -> None:
    source = Scenes()
    for index in range(20):
        spoil(source, index)
    (text,) = stale(source)
    assert text.startswith("view top of push (10 episodes), pull (10 episodes): the first frame")
    assert "record again" in text


def test_a_few_such_frames_are_no_habit() -> None:
    source = Scenes()
    for index in (3, 8):
        object_where_it_was(source, index)
    assert not stale(source)


def test_only_the_task_concerned_is_named() -> None:
    source = Scenes()
    for index in range(1, 20, 2):
        object_where_it_was(source, index)
    (text,) = stale(source)
    assert text.startswith("view top of pull (10 episodes): ")


def test_tasks_of_few_episodes_are_counted_together() -> None:
    source = Scenes()
    source.heads = [replace(head, task=f"task {i % 5}") for i, head in enumerate(source.heads)]
    for index in range(20):
        object_where_it_was(source, index)
    (text,) = stale(source)
    assert text.startswith("view top of 5 tasks of few episodes (20 episodes)")
