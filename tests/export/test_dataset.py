# h5py types every item as a group, a dataset or a datatype.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportIndexIssue=false
"""Exported datasets: episodes a robot can learn from, and where every one comes from."""

import json
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import yaml

from worldeval.data.source import open_source
from worldeval.errors import UserError
from worldeval.export.dataset import PROVENANCE, export_episodes
from worldeval.record import Episode


def imagined(index: int, *, success: bool, length: int = 6) -> Episode:
    rng = np.random.default_rng(index)
    return Episode(
        id=f"bc-{index}/start-{index}",
        frames={"side": np.full((length, 32, 32, 3), 40 * index, np.uint8)},
        actions=rng.normal(size=(length, 4)).astype(np.float32),
        pose=rng.normal(size=(length, 5)).astype(np.float32),
        task="open the drawer",
        success=success,
        fps=16.0,
        source=f"bc-{index}",
    )


def record(probability: float, **more: object) -> dict[str, object]:
    return {
        "origin": "imagined",
        "world_model": "0f3a",
        "policy": "bc",
        "seed": 7,
        "start": "s1",
        "judge": "learned",
        "probability": probability,
        "trust": 0.9,
        **more,
    }


@pytest.fixture
def three() -> list[tuple[Episode, dict[str, object]]]:
    return [
        (imagined(1, success=True), record(0.9)),
        (imagined(2, success=True, length=4), record(0.75, seed=8)),
        (imagined(3, success=False), record(0.2)),
    ]


def test_success_is_what_the_judge_said(tmp_path: Path, three) -> None:
    done = export_episodes(three, tmp_path / "set")
    assert (done.episodes, done.frames, done.successes) == (3, 16, 2)
    back = open_source(tmp_path / "set")
    assert [head.success for head in back.heads] == [True, True, False]
    assert [head.id for head in back.heads] == [episode.id for episode, _ in three]
    assert np.array_equal(back.rows(1).actions, three[1][0].actions)
    table = pd.read_parquet(tmp_path / "set/meta/episodes/chunk-000/file-000.parquet")
    assert list(table["worldeval/probability"]) == [0.9, 0.75, 0.2]


def test_every_episode_has_its_provenance(tmp_path: Path, three) -> None:
    facts = {"select": "probability > 0.1", "worldeval": "0.1.0"}
    export_episodes(three, tmp_path / "set", facts=facts)
    lines = (tmp_path / "set/meta/provenance.jsonl").read_text().splitlines()
    second = json.loads(lines[1])
    assert {name: second[name] for name in PROVENANCE} == record(0.75, seed=8)
    assert (second["episode_index"], second["success"]) == (1, True)
    assert json.loads((tmp_path / "set/meta/provenance.json").read_text()) == facts


def test_signals_are_kept_where_there_are_any(tmp_path: Path, three) -> None:
    three[0][1]["disagreement"] = 0.1
    export_episodes(three, tmp_path / "set", signals=["disagreement", "probability"])
    table = pd.read_parquet(tmp_path / "set/meta/episodes/chunk-000/file-000.parquet")
    assert table["worldeval/trust"].tolist() == [0.9] * 3
    assert table["worldeval/disagreement"].isna().tolist() == [False, True, True]


def test_robomimic_holds_the_same_in_one_file(tmp_path: Path, three) -> None:
    out = tmp_path / "set.hdf5"
    done = export_episodes(three, out, to="robomimic", facts={"select": "all"})
    assert (done.episodes, done.successes) == (3, 2)
    back = open_source(out)
    assert [head.success for head in back.heads] == [True, True, False]
    assert np.array_equal(back.frames(1, "side"), three[1][0].frames["side"])
    with h5py.File(out) as file:
        demo = file["data/demo_1"]
        kept = tuple(demo.attrs[name] for name in ("policy", "seed", "probability"))
        assert kept == ("bc", 8, 0.75)
        assert demo["rewards"][()].tolist() == [0, 0, 0, 1]
        assert json.loads(file["meta/provenance.json"][()]) == {"select": "all"}
        lines = file["meta/provenance.jsonl"].asstr()[()].splitlines()
        assert [json.loads(line)["probability"] for line in lines] == [0.9, 0.75, 0.2]
        card = file["README.md"].asstr()[()]
    assert "16 frames at 16 a second, robomimic HDF5" in card
    assert "LeRobot" not in card


def test_the_card_counts_and_warns(tmp_path: Path, three) -> None:
    export_episodes(three, tmp_path / "set", license="cc-by-4.0", title="Drawers")
    _, head, text = (tmp_path / "set/README.md").read_text().split("---\n", 2)
    assert yaml.safe_load(head)["license"] == "cc-by-4.0"
    assert "LeRobot" in yaml.safe_load(head)["tags"]
    assert "# Drawers" in text
    assert "3 episodes, 16 frames at 16 a second" in text
    assert "2 of 3 successful; mean probability, as the judge says, 0.617" in text
    assert "| open the drawer | 3 |" in text
    assert "come from a learned world model: they are not recordings" in text


def test_a_record_without_its_judge_is_refused_and_nothing_is_left(tmp_path: Path, three) -> None:
    del three[2][1]["judge"]
    with pytest.raises(UserError, match="'bc-3/start-3' has no judge in its provenance"):
        export_episodes(three, tmp_path / "set")
    assert not (tmp_path / "set").exists()
    # A second try begins anew instead of adding to what the first one left.
    three[2][1]["judge"] = "learned"
    assert export_episodes(three, tmp_path / "set").episodes == 3
    assert len(open_source(tmp_path / "set")) == 3


def test_no_episode(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"No episode is left to export\. Loosen --select"):
        export_episodes([], tmp_path / "set")
