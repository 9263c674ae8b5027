"""Where two policies part, on a track on which it is known."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.support import parting
from tests.support.parting import (
    CHUNK,
    HORIZON,
    Driver,
    TrackJudge,
    TrackWorld,
    track_starts,
)
from worldeval.errors import UserError
from worldeval.evaluate import explain as explaining
from worldeval.evaluate.explain import concluded, differing, drawn, explain
from worldeval.evaluate.parting import handed_over
from worldeval.evaluate.parting_words import sentences_of
from worldeval.rollout.recipe import ProtocolRecipe
from worldeval.rollout.starts import write_starts
from worldeval.runs.explanation import Explanation
from worldeval.runs.manifest import Manifest, PolicyRecord, write_manifest
from worldeval.runs.origin import open_run
from worldeval.runs.tables import write_table

FILE = Path(parting.__file__)
GOOD, SLIPS = "good", "slips"
RECIPE = ProtocolRecipe(
    tasks=("go",), policies=(GOOD, SLIPS), world="w", judge="j", horizon=HORIZON,
    replan_every=CHUNK, batch=30,
)  # fmt: skip


def table(scores: dict[str, list[float]], *, tasks: int = 1) -> pd.DataFrame:
    """Outcomes of policies from the same starts, in turn of so many tasks."""
    return pd.DataFrame(
        {"policy": name, "task": f"go{i % tasks}" if tasks > 1 else "go", "start": f"go-{i}",
         "seed": i, "score": score}
        for name, each in scores.items()
        for i, score in enumerate(each)
    )  # fmt: skip


def found(slips: Driver, *, starts: int = 8, noise: float = 0.0, flips: float = 0.0) -> Explanation:
    """Explain a policy that always goes forward and one that does not."""
    policies = {GOOD: Driver(GOOD), SLIPS: slips}
    made = handed_over(
        TrackWorld(noise=noise), TrackJudge(flips=flips), policies, track_starts(starts), RECIPE,
        seed=0,
    )  # fmt: skip
    own = {name: [each.probability(name) for each in made] for name in policies}
    difference = differing(table(own), GOOD, SLIPS)
    return concluded(difference, made, place=(0,), horizon=HORIZON)


@pytest.mark.parametrize("chunk", range(HORIZON // CHUNK))
def test_policies_that_differ_in_one_chunk_part_at_that_chunk(chunk: int) -> None:
    begin = chunk * CHUNK
    explanation = found(Driver(SLIPS, stops=range(begin, begin + CHUNK)))
    assert explanation.first_only == len(explanation.parted) == 8
    for one in explanation.parted:
        assert (one.begin, one.end, one.winner, one.loser) == (begin, begin + CHUNK, GOOD, SLIPS)
        assert one.clear and one.won == begin + CHUNK
    (cluster,) = explanation.clusters
    assert (cluster.count, cluster.begin) == (8, (begin, begin, begin))
    third = ("first third", "middle third", "last third")[begin * 3 // HORIZON]
    assert cluster.phase == third and "thirds" in explanation.phases


def test_of_several_mistakes_the_first_decides_and_the_last_must_be_avoided() -> None:
    explanation = found(Driver(SLIPS, stops=(4, 8)))
    assert {(one.begin, one.won) for one in explanation.parted} == {(4, 10)}


def test_policies_that_behave_alike_never_part() -> None:
    explanation = found(Driver(SLIPS))
    assert explanation.parted == () and explanation.clusters == ()
    assert explanation.both == 8
    assert explanation.control_changes is not None and explanation.control_changes.value == 0


def test_with_noise_in_the_verdicts_most_starts_still_name_the_chunk() -> None:
    explanation = found(Driver(SLIPS, stops=(6, 7)), starts=30, noise=0.002, flips=0.05)
    own = [one for one in explanation.parted if one.loser == SLIPS]
    assert len(own) >= 20
    assert np.mean([one.begin == 6 for one in own]) > 0.7
    assert len(own) < 30  # some own verdicts are turned around


def test_verdicts_by_chance_have_no_single_moment() -> None:
    """Half of the verdicts are turned around: most curves go back and forth."""
    explanation = found(Driver(SLIPS, stops=(6, 7)), starts=40, flips=0.5)
    assert np.mean([one.clear for one in explanation.parted]) < 0.4
    assert explanation.control_changes is not None
    assert (explanation.control_changes.value or 0) > 0.3


def test_the_sentence_counts_starts_and_names_the_phase() -> None:
    explanation = found(Driver(SLIPS, stops=(10, 11)))
    first, second, third, *_ = sentences_of(explanation)
    assert first == (
        "slips loses 8 of 8 starts to good in the last third [68%, 100%], decided at frame 10."
    )
    assert second == "Their verdicts differ at 8 of 8 starts: 8 won by good, 0 by slips."
    assert third == "Not checked in a simulator."


def test_starts_are_compared_by_verdict_and_drawn_with_controls() -> None:
    scores = {GOOD: [0.9] * 12 + [0.2] * 4, SLIPS: [0.1] * 10 + [0.8] * 3 + [0.3] * 3}
    difference = differing(table(scores, tasks=2), GOOD, SLIPS)
    counts = [len(each) for each in (difference.first_only, difference.second_only,
                                     difference.both, difference.neither)]  # fmt: skip
    assert counts == [10, 1, 2, 3] and difference.starts == 16
    looked = drawn(difference, np.random.default_rng(0), starts=6)
    assert len(set(looked) & set(difference.discordant)) == 6 and len(looked) == 11
    one_task = differing(table(scores, tasks=2), GOOD, SLIPS, "go1")
    assert one_task.starts == 8 and one_task.tasks == ("go1",)
    with pytest.raises(UserError, match=r"no task 'go2'.*Did you mean"):
        differing(table(scores, tasks=2), GOOD, SLIPS, "go2")


# --- a run folder


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return track_run(tmp_path, monkeypatch, {"stops": [4, 5]})


def track_run(
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    how: dict[str, Any],
    *,
    starts: int = 8,
    env: str = "TrackEnv",
) -> Path:
    """A run of two drivers on the track, with a simulator; world and judge need no files."""
    recipe = {
        "kind": "closed-loop", "tasks": ["go"], "policies": [GOOD, SLIPS], "world": "w",
        "judge": "j", "starts": starts, "horizon": HORIZON, "replan_every": CHUNK, "batch": 30,
        "truth": {"env": f"{FILE}:{env}", "k": 1, "size": 8},
    }  # fmt: skip
    run = open_run(home / "run", recipe=recipe, seed=0, command="rank")
    policies = {
        GOOD: PolicyRecord(ref=f"{FILE}:Driver?name={GOOD}", hash=None),
        SLIPS: PolicyRecord(
            ref=f"{FILE}:Driver?name={SLIPS}&" + "&".join(f"{k}={v}" for k, v in how.items()),
            hash=None,
        ),
    }
    write_manifest(run, Manifest(seed=0, world="", judge="", protocol={}, policies=policies))
    begins = track_starts(starts)
    write_starts(run / "starts.h5", begins)
    score = 0.1 if how.get("stops") else 0.9
    rows = table({GOOD: [0.9] * starts, SLIPS: [score] * starts})
    write_table(run / "outcomes/imagined.csv", rows)
    monkeypatch.setattr(explaining, "sampled_world", lambda *_: TrackWorld())
    monkeypatch.setattr(explaining, "run_judge", lambda *_, **__: TrackJudge())
    monkeypatch.setattr(explaining, "world_hash", lambda _: "")
    monkeypatch.setattr(explaining, "judge_hash", lambda _: "")
    return run


def test_a_run_is_explained_and_the_simulator_confirms_it(run: Path, tmp_path: Path) -> None:
    import worldeval as we

    made = we.explain(run, GOOD, SLIPS, trust_code=True, films=2, jobs=1, progress=False)
    assert {(one.begin, one.end) for one in made.explanation.parted} == {(4, 6)}
    check = made.explanation.simulator
    assert check is not None
    assert (check.differs.value, check.confirmed.value, check.confirmed.n) == (1.0, 1.0, 8)
    assert check.chance == pytest.approx(1 / 6)
    assert made.folder == run / "explain/good-vs-slips"
    assert sorted(path.name for path in (made.folder / "films").iterdir()) == ["01.mp4", "02.mp4"]
    text = made.page.read_text()
    assert "slips loses 8 of 8" in text and text.count("<video") == 2 and "confirmed" in text
    content = json.loads((made.folder / "explanation.json").read_text())
    assert len(content["parted"][0]["rescue"]["probability"]) == HORIZON // CHUNK + 1
    again = we.open_run(run).explain(
        GOOD, SLIPS, trust_code=True, films=0, simulator=False, progress=False, out=tmp_path / "two"
    )
    assert [one.rescue for one in again.explanation.parted] == [
        one.rescue for one in made.explanation.parted
    ]
    assert "Not checked in a simulator: not asked for." in str(again)


def test_a_simulator_with_another_goal_does_not_confirm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It forgives one chunk: there, both succeed."""
    run = track_run(tmp_path, monkeypatch, {"stops": [4, 5]}, env="TrackEnv?easier=0.2", starts=6)
    made = explain(run, GOOD, SLIPS, trust_code=True, processes=1)
    check = made.explanation.simulator
    assert check is not None and (check.differs.value, check.confirmed.n) == (0.0, 0)
    assert not any(one.simulated and one.simulated.confirmed for one in made.explanation.parted)


def test_pairs_that_chance_could_explain_are_refused_with_what_would_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = track_run(tmp_path / "few", monkeypatch, {"stops": [4]}, starts=5)
    with pytest.raises(UserError, match=r"tied.* differ at 5 of 5 starts .*About 6 starts would"):
        explain(few, GOOD, SLIPS, trust_code=True)
    never = track_run(tmp_path / "never", monkeypatch, {"chunk": 2})
    with pytest.raises(UserError, match=r"never part.*all 8 starts.*succeed at 8, both fail at 0"):
        explain(never, GOOD, SLIPS, trust_code=True)


def test_what_cannot_be_repeated_is_refused(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"no policy 'godo'.*Did you mean 'good'"):
        explain(run, "godo", SLIPS)
    with pytest.raises(UserError, match="given twice"):
        explain(run, GOOD, GOOD)
    with pytest.raises(UserError, match=r"names Python code .*--trust-code"):
        explain(run, GOOD, SLIPS)
    monkeypatch.setattr(explaining, "run_judge", lambda *_, **__: TrackJudge(flips=0.5))
    with pytest.raises(UserError, match=r"Imagining anew.*differ at"):
        explain(run, GOOD, SLIPS, trust_code=True, simulator=False)
    manifest = explaining.read_manifest(run)
    assert manifest is not None
    write_manifest(run, Manifest(**{**vars(manifest), "world": "abc"}))
    monkeypatch.setattr(explaining, "world_hash", lambda _: "def")
    with pytest.raises(UserError, match="The world model has changed since"):
        explain(run, GOOD, SLIPS, trust_code=True)
