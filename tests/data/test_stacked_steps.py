"""Several recorded steps as one frame: what is kept, what is stacked, and what it then does."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import worldeval as we
from worldeval.data.check.check import check
from worldeval.data.columns import ColumnGroup, ColumnMeanings
from worldeval.data.data_map import DataMap, NumbersMap
from worldeval.data.formats.shards.layout import ShardEpisode, write_shard
from worldeval.data.source import Source, open_source
from worldeval.data.stacked_steps import StackedSteps
from worldeval.data.weighted import Weighted, read_rollouts
from worldeval.errors import UserError
from worldeval.policy.builtin import Zero
from worldeval.record import Episode
from worldeval.rollout.actions import fitted
from worldeval.world.body import body_of
from worldeval.world.hand.commands import Actuation
from worldeval.world.protocol import WorldSpec
from worldeval.world.recipe import ActuationRecipe

LENGTH = 9  # rows 0-8, recorded at 50 a second: with 3 steps to a frame, rows 2, 5 and 8 are frames


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """Two episodes whose pictures, poses and actions show the row; success at row 7 alone."""
    rows = np.arange(LENGTH)
    frames = np.broadcast_to(rows[:, None, None, None], (LENGTH, 8, 8, 3)).astype(np.uint8)
    actions = np.stack([rows, -rows], 1).astype(np.float32)
    flags = (rows == 7).astype(np.uint8)
    items = [
        ShardEpisode(
            episode=Episode(
                id=f"e{number}",
                frames={"top": frames},
                actions=actions,
                pose=actions * 10,
                task="push",
                success=True,
                fps=50.0,
            ),
            flags=flags,
            seed=number,
        )
        for number in range(2)
    ]
    folder = tmp_path / "recorded"
    folder.mkdir()
    write_shard(folder / "push.h5", items)
    return folder


def every(path: Path, steps: int) -> Source:
    return open_source(path, given=DataMap(every=steps))


def test_frames_end_at_the_last_row_and_hold_the_actions_of_their_steps(recorded: Path) -> None:
    source = every(recorded, 3)
    assert source.spec.fps == pytest.approx(50 / 3)
    assert source.heads[0].length == 3
    rows = source.rows(0)
    assert rows.pose[:, 0].tolist() == [20, 50, 80]
    assert rows.actions[:2].tolist() == [[2, -2, 3, -3, 4, -4], [5, -5, 6, -6, 7, -7]]
    assert source.frames(0, "top")[:, 0, 0, 0].tolist() == [2, 5, 8]
    assert source.frames(0, "top", np.array([2, 0]))[:, 0, 0, 0].tolist() == [8, 2]


def test_success_between_two_frames_counts_at_the_next(recorded: Path) -> None:
    rows = every(recorded, 3).rows(0)
    assert rows.flags is not None and rows.flags.tolist() == [0, 0, 1]


def test_the_pictures_are_as_many_as_the_poses(recorded: Path) -> None:
    for steps in range(2, LENGTH):
        episode = every(recorded, steps).episode(1)
        assert len(episode.frames["top"]) == len(episode.pose) == len(episode.actions)
        assert episode.frames["top"][-1, 0, 0, 0] == LENGTH - 1


@pytest.mark.parametrize(
    ("motion", "unit", "stacked", "reached"),
    [
        ("delta", "m", [0.1, 0.2, 0.3], 1.6),  # deltas add up
        ("absolute", "m", [5.0, 6.0, 7.0], 7.0),  # the last target holds
        ("velocity", "m/s", [3.0, 6.0, 9.0], 1.0 + 6.0 * 3 / 50),  # the mean, for a frame
    ],
)
def test_what_a_stacked_action_does_follows_from_the_meaning_of_a_step(
    motion: str, unit: str, stacked: list[float], reached: float
) -> None:
    pose = ColumnGroup(names=("x", "y"), means="planar", unit="m")
    action = ColumnGroup(names=("x", "y"), means="planar", unit=unit, motion=motion)  # type: ignore[arg-type]
    body = body_of(
        ColumnMeanings(action=(action,), pose=(pose,)), ActuationRecipe(), action_dim=6, pose_dim=2
    )
    given = torch.tensor([[number for each in stacked for number in (each, each)]])
    found = Actuation(ActuationRecipe(), body, fps=50 / 3).step(torch.ones(1, 2), given)
    assert found[0].tolist() == pytest.approx([reached, reached])


def test_a_policy_of_single_steps_acts_in_a_world_of_stacked_ones(recorded: Path) -> None:
    spec = every(recorded, 3).spec
    world = WorldSpec(
        views=("top",), size=(8, 8), latent=(1, 1, 1), action_dim=len(spec.action_names),
        pose_dim=2, tasks=("push",), fps=spec.fps,
    )  # fmt: skip
    assert fitted(Zero(action_dim=2, chunk=3), world).spec.action_dim == 6
    with pytest.raises(UserError, match="has no observation in between"):
        fitted(Zero(action_dim=2, chunk=1), world)


def test_absolute_targets_are_checked_as_they_were_recorded(recorded: Path) -> None:
    """Not as stacks, which have more columns than the place that they are targets of."""
    group = ColumnGroup(names=("x", "y"), means="planar", motion="absolute")
    place = ColumnGroup(names=("x", "y"), means="planar")
    given = DataMap(every=3, action=NumbersMap(columns=(group,)), pose=NumbersMap(columns=(place,)))
    plain = replace(given, every=None)
    found = check(open_source(recorded, given=given))
    assert found == check(open_source(recorded, given=plain))


def test_rollouts_in_shards_are_read_at_the_rate_of_the_recordings(recorded: Path) -> None:
    """`data collect` stacks steps itself; what was recorded at every step is stacked as well."""
    beside = [Weighted(path=recorded, given=DataMap(every=3))]
    slow = recorded.parent / "slow"
    we.convert_dataset(recorded, slow, to="shards", every=3)
    one, other = read_rollouts([slow, recorded], (), 3, beside=beside)
    assert one.open().spec.fps == other.open().spec.fps == beside[0].open().spec.fps
    assert np.array_equal(one.open().rows(1).actions, other.open().rows(1).actions)
    odd = [Weighted(path=recorded, given=DataMap(every=4))]
    with pytest.raises(UserError, match="no whole multiple"):
        read_rollouts([slow], (), 4, beside=odd)


def test_rollouts_in_other_formats_are_stacked_unless_they_are_already(recorded: Path) -> None:
    """`data collect --to lerobot` writes the simulator's frames; a lab's own has every step."""
    beside = [Weighted(path=recorded, given=DataMap(every=2))]
    folder = recorded.parent
    we.convert_dataset(recorded, folder / "frames", to="lerobot", every=2)
    we.convert_dataset(recorded, folder / "steps", to="lerobot")
    one, other = read_rollouts([folder / "frames", folder / "steps"], (), 2, beside=beside)
    assert one.open().spec.fps == pytest.approx(other.open().spec.fps)
    assert np.array_equal(one.open().rows(1).actions, other.open().rows(1).actions)


def test_conversion_resamples_by_a_whole_number_or_refuses(recorded: Path, tmp_path: Path) -> None:
    done = we.convert_dataset(recorded, tmp_path / "slow", to="shards", fps=25)
    assert (done.episodes, done.frames) == (2, 10)
    back = open_source(tmp_path / "slow")
    assert back.spec.fps == 25
    assert back.rows(0).actions[0].tolist() == [0, 0, 1, -1]
    with pytest.raises(UserError, match="cannot be resampled to 20"):
        we.convert_dataset(recorded, tmp_path / "odd", fps=20)
    with pytest.raises(UserError, match="give only one"):
        we.convert_dataset(recorded, tmp_path / "odd", fps=25, every=2)


MOVES = """\
action:
  columns:
    - {names: [dx, dy], means: planar, motion: delta, unit: m}
"""


@pytest.mark.parametrize("how", [{"every": 2}, {"fps": 25}])
def test_a_conversion_that_would_lose_the_meaning_of_columns_is_refused(
    recorded: Path, tmp_path: Path, how: dict
) -> None:
    """And so it is where the map itself stacks; every step can be written."""
    (tmp_path / "map.yaml").write_text(MOVES)
    (tmp_path / "stacked.yaml").write_text(f"every: 2\n{MOVES}")
    for name, given in (("map.yaml", how), ("stacked.yaml", {})):
        with pytest.raises(UserError, match=r"\(dx, dy\).*every: 2 in a map"):
            we.convert_dataset(recorded, tmp_path / "out", map=tmp_path / name, **given)
    assert not (tmp_path / "out").exists()
    we.convert_dataset(recorded, tmp_path / "out", map=tmp_path / "map.yaml")


def test_episodes_shorter_than_a_frame_are_refused(recorded: Path) -> None:
    with pytest.raises(UserError, match="shorter than two frames of 9 steps"):
        StackedSteps(open_source(recorded), 9)
