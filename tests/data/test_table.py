"""Episodes of several datasets as one table: what every training reads."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support.told import AXES, LENGTH, Told
from tests.support.toy import toy_shards
from worldeval.data.convert import convert
from worldeval.data.source import Rows, open_source
from worldeval.data.table import RecordedEpisodes, read_table
from worldeval.errors import UserError


def test_rows_in_any_order_are_those_of_their_episodes(tmp_path: Path) -> None:
    folders = [toy_shards(tmp_path / name, episodes=3, seed=seed) for seed, name in enumerate("ab")]
    table = read_table(*folders)
    assert table.part.tolist() == [0] * 6 + [1] * 6
    rows = np.random.default_rng(0).integers(0, len(table.pose), 40)
    found = table.frames("top", rows)
    whole = np.concatenate([episode.frames["top"] for episode in table])
    assert np.array_equal(found, whole[rows])
    assert np.array_equal(np.concatenate([one.actions for one in table]), table.actions)
    assert table.tasks == ("left", "right")


@pytest.mark.parametrize("to", ["lerobot", "robomimic"])
def test_success_survives_a_format_of_somebody_else(tmp_path: Path, to: str) -> None:
    source = open_source(toy_shards(tmp_path / "a", episodes=4))
    out = tmp_path / ("b.hdf5" if to == "robomimic" else "b")
    convert(source, out, to=to)
    ours, theirs = read_table(tmp_path / "a"), read_table(out)
    assert theirs.episodes["success"].tolist() == ours.episodes["success"].tolist()
    assert theirs.labelled.all()
    # Others say it once an episode: it stands at the last frame.
    last = [theirs.flags[theirs.rows(i)][-1] for i in range(len(theirs))]
    assert last == ours.episodes["success"].tolist()


class Changed(Told):
    def __init__(self, **change) -> None:
        super().__init__(Path("other"))
        self.spec = replace(self.spec, **change)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"fps": 6.0}, "frames per second: 6.0, but arm has 5.0"),
        ({"views": {"side": (16, 16)}}, "views .*side.*, but arm has .*top"),
        ({"action_names": ("vx", *AXES[1:])}, "an action of .*vx"),
        ({"pose_names": ("pose_0", "pose_1")}, "a pose of 2, but arm has 4"),
    ],
)
def test_other_robots_are_refused(change: dict, said: str) -> None:
    with pytest.raises(UserError, match=said):
        RecordedEpisodes([Told(Path("arm")), Changed(**change)])


class Spoilt(Told):
    def rows(self, index: int) -> Rows:
        rows = super().rows(index)
        if index == 4:
            rows.actions[2, 1] = np.nan
        return rows


def test_a_number_that_is_none_names_its_episode() -> None:
    with pytest.raises(UserError, match="actions of episode '4' contain non-finite values"):
        RecordedEpisodes([Spoilt(Path("arm"))])


def test_a_copy_is_refused() -> None:
    with pytest.raises(UserError, match=r"Episode '0' occurs twice in the data"):
        RecordedEpisodes([Told(Path("arm")), Told(Path("copy"))])


def test_what_nobody_knows_is_unlabelled() -> None:
    source = Told(Path("arm"))
    source.heads[1] = replace(source.heads[1], success=None)
    table = RecordedEpisodes([source])
    assert table.labelled.tolist() == [True, False] + [True] * 7
    assert not table.flags[table.rows(1)].any() and table.flags[LENGTH - 1] == 1


def test_a_mixture_has_one_action_space_where_both_say_it() -> None:
    metres, pixels = "planar-position(2)", "planar-position(2,px)"
    one = Changed(space=metres)
    with pytest.raises(UserError, match="occurs twice"):  # nothing else is wrong with them
        RecordedEpisodes([one, Changed()])
    with pytest.raises(UserError, match=r"has the action space planar-position\(2,px\), but"):
        RecordedEpisodes([one, Changed(space=pixels)])
