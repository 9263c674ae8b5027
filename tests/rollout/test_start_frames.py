"""Distances of start frames: a moved camera is farther than any held-out start."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support.imagined_run import fresh_world
from tests.support.toy import TASKS, picture
from worldeval.errors import UserError
from worldeval.record import Start
from worldeval.rollout.start_frames import EVERY_TASK, StartFit, fit_starts, read_start_fit
from worldeval.world.load import load_world
from worldeval.world.world import World

VIEWS = ("side", "top")
TABLE = (np.add.outer(np.arange(16), np.arange(16)) % 6 < 2)[..., None]  # stripes


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return load_world(fresh_world(tmp_path_factory.mktemp("start_frames") / "world"))


def starts(count: int, *, seed: int, tasks: tuple[str, ...] = TASKS) -> list[Start]:
    """Starts of a dot somewhere near the middle, with a little noise of the camera."""
    rng = np.random.default_rng(seed)
    out = []
    for task in tasks:
        for number in range(count):
            frames = {}
            for view in VIEWS:
                noise = rng.normal(0, 2, (16, 16, 3))
                shown = np.where(TABLE, 160, picture(rng.uniform(-0.3, 0.3, 3))) + noise
                frames[view] = shown.clip(0, 255).astype(np.uint8)
            start = Start(
                id=f"{task}-{number}",
                task=task,
                seed=number,
                frames=frames,
                pose=np.zeros(4, np.float32),
            )
            out.append(start)
    return out


def changed(each: list[Start], change) -> list[Start]:
    return [
        replace(one, frames={view: change(image) for view, image in one.frames.items()})
        for one in each
    ]


@pytest.fixture(scope="module")
def fit(world: World) -> StartFit:
    return fit_starts(world, starts(40, seed=0), rng=np.random.default_rng(0))


def of(fit: StartFit, world: World, each: list[Start]) -> np.ndarray:
    return np.array([one.distance for one in fit.distances(world, each)])


@pytest.mark.parametrize(
    "change",
    [
        lambda image: np.roll(image, 6, axis=1),
        lambda image: (image * 0.7).astype(np.uint8),
        lambda image: np.where(np.arange(16)[:, None, None] < 5, 200, image).astype(np.uint8),
    ],
    ids=["moved", "dark", "background"],
)
def test_changed_frames_are_farther_than_every_held_out_start(
    world: World, fit: StartFit, change
) -> None:
    held_out = of(fit, world, starts(40, seed=1))
    assert np.median(of(fit, world, changed(starts(10, seed=2), change))) > held_out.max()


def test_unchanged_frames_are_not_farther_than_held_out_ones(world: World, fit: StartFit) -> None:
    """Equal distributions: half of new starts lie beyond the median of held-out ones."""
    held_out, new = (of(fit, world, starts(60, seed=seed)) for seed in (1, 2))
    assert (new > np.median(held_out)).mean() == pytest.approx(0.5, abs=0.15)


def test_the_view_and_what_differs_in_it_are_named(world: World, fit: StartFit) -> None:
    one = starts(1, seed=3, tasks=("left",))[0]
    dark = replace(one, frames={**one.frames, "top": one.frames["top"] // 2})
    found = fit.distances(world, [dark])[0]
    assert (found.start, found.task, found.view) == ("left-0", "left", "top")
    assert found.block == "background"


def test_what_is_read_measures_as_what_was_written(
    world: World, fit: StartFit, tmp_path: Path
) -> None:
    fit.save(tmp_path / "fit.safetensors")
    again = read_start_fit(tmp_path / "fit.safetensors")
    new = starts(5, seed=4)
    np.testing.assert_allclose(of(again, world, new), of(fit, world, new), rtol=1e-4, atol=1e-4)
    assert again.fitted == 80


def test_rare_tasks_share_one_fit(world: World) -> None:
    few = [*starts(12, seed=0, tasks=("left",)), *starts(3, seed=1, tasks=("right",))]
    fit = fit_starts(world, few, rng=np.random.default_rng(0))
    assert list(fit.tasks) == [EVERY_TASK]
    assert len(fit.distances(world, few)) == 15


def test_starts_that_cannot_be_fitted_or_compared_are_refused(world: World, fit: StartFit) -> None:
    with pytest.raises(UserError, match="9 start frames are too few"):
        fit_starts(world, starts(9, seed=0, tasks=("left",)), rng=np.random.default_rng(0))
    one = starts(1, seed=0, tasks=("left",))[0]
    with pytest.raises(UserError, match="'left-0' has no view 'top'"):
        fit.distances(world, [replace(one, frames={"side": one.frames["side"]})])
    assert fit.distances(world, [replace(one, task="unknown")]) == []
