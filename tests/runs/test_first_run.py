"""A run folder of the first version (commit 935f849, `rank --real` of the toy) still opens: no key
is missing, and no file needs a checksum that it never had."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from worldeval.report.contents import read_contents
from worldeval.report.page import write_page
from worldeval.runs.episodes import read_episodes
from worldeval.runs.films import read_filmstrips, read_frames
from worldeval.runs.finding import find_runs
from worldeval.runs.manifest import read_manifest
from worldeval.runs.origin import open_run, read_facts, read_recipe
from worldeval.runs.paths import RunPaths
from worldeval.runs.store import RolloutStore
from worldeval.runs.summary import read_summary
from worldeval.runs.tables import find_outcomes, read_side

POLICIES = {"a/step-1", "a/step-2", "b/step-1"}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return Path(shutil.copytree(Path(__file__).parent / "first_run", tmp_path / "runs/first"))


def test_its_summary_has_every_number(run: Path) -> None:
    raw, found = json.loads((run / "summary.json").read_text()), read_summary(run)
    assert found.schema_version == 0
    assert found.ranking is not None and found.truth is not None and found.agreement is not None
    assert [row.policy for row in found.ranking.policies] == [
        row["policy"] for row in raw["ranking"]["policies"]
    ]
    assert found.ranking.policies[0].estimate.value == raw["ranking"]["policies"][0]["value"]
    assert found.agreement.spearman is not None
    assert found.agreement.spearman.low == raw["agreement"]["spearman"]["low"]
    assert found.world is not None and found.world.hash == raw["world"]["hash"]
    assert [each.code for each in found.refusals] == [
        each["code"] for each in raw["findings"] if each["severity"] == "refusal"
    ]


def test_its_tables_say_what_they_said(run: Path) -> None:
    then = pd.read_csv(run / "outcomes/imagined.csv")
    now = read_side(run, "imagined", needed=("policy", "score"))
    assert list(now.columns) == list(then.columns)
    for name in then:
        assert list(now[name]) == list(then[name])
    truth = find_outcomes(run, "truth")
    assert truth is not None and set(truth.policies) == POLICIES and truth.binary


def test_its_episodes_are_whole_and_stay_where_they_are(run: Path) -> None:
    store = RolloutStore(RunPaths(run).imagined)
    assert store.mend() == []
    assert {rollout.policy for rollout, _ in store.rollouts()} == POLICIES
    assert len(store.done()) == 12
    episodes = read_episodes(run)
    assert (len(episodes), episodes.damaged) == (12, ())
    assert np.isfinite(episodes.table["real"].to_numpy(float)).all()


def test_its_other_files_are_read(run: Path) -> None:
    manifest = read_manifest(run)
    assert manifest is not None and set(manifest.policies) == POLICIES
    assert read_facts(run).commit == "935f8499b315b80549df22dad8cb17eb003fd639"
    assert read_recipe(run)["tasks"] == ["left", "right"]
    (strip,) = read_filmstrips(RunPaths(run).films)
    assert read_frames(RunPaths(run).films, strip.imagined)
    (state,) = find_runs(run.parent)
    assert (state.status, state.episodes) == ("ranked", 12)


def test_it_can_be_continued_and_reported(run: Path) -> None:
    open_run(run, recipe=read_recipe(run), seed=0, command="rank", resume=True)
    assert read_facts(run).before[0].commit == "935f8499b315b80549df22dad8cb17eb003fd639"
    contents = read_contents(run, rng=np.random.default_rng(0))
    assert {row.policy for row in contents.rows} == POLICIES
    assert "a/step-2" in write_page(contents, run / "report/index.html", embed=True).read_text()
