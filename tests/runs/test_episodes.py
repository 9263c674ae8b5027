# pandas types a cell as anything that a table may hold.
# pyright: reportGeneralTypeIssues=false, reportArgumentType=false
"""Every episode of a run in one table, whatever part of the run is there."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from worldeval.errors import UserError
from worldeval.report.contents import read_contents
from worldeval.runs.episodes import filmed, identity, read_episodes


def test_outcomes_imagined_and_real_stand_in_one_row(kept_run: Path) -> None:
    episodes = read_episodes(kept_run)
    assert len(episodes) == 120
    row = episodes.table.iloc[0]
    assert row["id"] == "bc-all@2400/drawer-open-v3-0/0"
    assert (row["score"], row["real"]) == (0.08, 1.0)
    assert (row["file"], row["row"]) == ("000-00000.npz", 0)
    assert episodes.signals == ("mended",)
    assert episodes.place(row["id"]) == 0
    assert episodes.place("../../etc/passwd") is None


def test_a_run_under_way_is_read_from_its_batches(run: Path) -> None:
    shutil.rmtree(run / "outcomes")
    (run / "imagined/002-00000.npz").unlink()
    episodes = read_episodes(run)
    assert len(episodes) == 80
    assert set(episodes.signals) == {"disagreement", "mended"}
    assert np.isnan(episodes.table["real"]).all()
    assert episodes.table["disagreement"].max() == pytest.approx(0.1)


def test_batches_newer_than_the_table_count_and_overlaps_once(run: Path) -> None:
    path = run / "outcomes/imagined.csv"
    path.write_text("\n".join(path.read_text().splitlines()[:61]) + "\n")
    assert len(read_episodes(run)) == 120
    shutil.copy(run / "imagined/000-00000.npz", run / "imagined/a-copy.npz")
    assert len(read_episodes(run)) == 120


def test_a_damaged_batch_is_named_and_left_out(run: Path) -> None:
    shutil.rmtree(run / "outcomes")
    (run / "imagined/000-00000.npz").write_bytes(b"PK cut off")
    episodes = read_episodes(run)
    assert len(episodes) == 80
    assert "000-00000.npz" in episodes.damaged[0]


def test_a_batch_outside_of_the_run_is_not_read(run: Path, tmp_path: Path) -> None:
    shutil.rmtree(run / "outcomes")
    shutil.move(run / "imagined/000-00000.npz", tmp_path / "elsewhere.npz")
    (run / "imagined/000-00000.npz").symlink_to(tmp_path / "elsewhere.npz")
    assert len(read_episodes(run)) == 80


def test_a_run_that_only_has_outcomes_has_no_arrays(run: Path) -> None:
    shutil.rmtree(run / "imagined")
    table = read_episodes(run).table
    assert set(table["file"]) == {""}
    assert set(table["row"]) == {-1}


def test_a_table_without_its_columns_is_refused(run: Path) -> None:
    (run / "outcomes/imagined.csv").write_text("policy,task\na,b\n")
    with pytest.raises(UserError, match="has no column start"):
        read_episodes(run)


def test_film_strips_find_their_episodes(kept_run: Path) -> None:
    strips = read_contents(kept_run, rng=np.random.default_rng(0)).strips
    found = filmed(read_episodes(kept_run), strips)
    assert len(found) == len(strips) == 5
    assert found[identity(*strips[0].key)] is strips[0]


def test_an_id_names_the_task_once() -> None:
    assert identity("p", "open", "open-3", 3) == "p/open-3/3"
    assert identity("p", "open", "recorded-3", 3) == "p/open/recorded-3/3"
