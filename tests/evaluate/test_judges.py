# pandas types a cell as anything that a table may hold.
# pyright: reportGeneralTypeIssues=false, reportArgumentType=false
"""Rankings with any judge: live, again on the same episodes, by people, and corrected by labels."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from toy_run import TASKS, make_run
from typer.testing import CliRunner

import worldeval as we
from tests.support.chat_server import chat_server
from worldeval.cli import app
from worldeval.errors import UserError
from worldeval.evaluate.judge_findings import abstentions, panel_splits, says_one_thing
from worldeval.evaluate.label_calibration import calibrate_with_labels
from worldeval.evaluate.people import PeopleJudge
from worldeval.evaluate.rejudge import judge_again as write_again
from worldeval.judge.calibrate import Calibration
from worldeval.judge.fit import FittedJudge
from worldeval.judge.learned import load_learned, save_judge
from worldeval.judge.recipe import JudgeRecipe
from worldeval.judge.sequence import new_network
from worldeval.runs.episode_labels import confirm
from worldeval.runs.episodes import read_episodes
from worldeval.runs.labels import Opinion, between_people, read_opinions
from worldeval.runs.store import RolloutStore
from worldeval.world.load import load_world, world_hash

POLICIES = ("a/step-1", "a/step-2", "b/step-1")


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("judges")


@pytest.fixture(scope="module")
def run(home: Path) -> Path:
    """A ranking by the learned judge."""
    protocol = make_run(home, policies=POLICIES, starts=6)
    out = home / "run"
    we.rank(protocol=str(protocol), out=out, films=0, jobs=1, progress=False)
    return out


def invoke(*words: object) -> str:
    said = CliRunner().invoke(app, [str(word) for word in words])
    assert said.exit_code == 0, said.output
    return said.output


def scores(run: Path) -> pd.DataFrame:
    table = pd.read_csv(run / "outcomes/imagined.csv")
    return table.sort_values(["policy", "start"]).reset_index(drop=True)


def code(home: Path, text: str, name: str) -> str:
    (home / f"{name}.py").write_text(text)
    return f"{home / name}.py:make"


def test_judging_again_with_the_same_judge_changes_nothing(home: Path, run: Path) -> None:
    result = we.judge_again(run, str(home / "judge"), home / "same", progress=False)
    one, again = scores(run), scores(home / "same")
    np.testing.assert_allclose(one["score"], again["score"], atol=2e-3)  # latents are float16
    assert list(result.policies["policy"]) == list(we.open_run(run).policies["policy"])


def test_a_judge_of_sequences_shows_progress_and_abstains(home: Path, run: Path) -> None:
    world = load_world(home / "world")
    recipe = JudgeRecipe(network="sequence", hidden=16, members=2)
    latent = (len(world.spec.views), *world.spec.latent)
    torch.manual_seed(0)
    fitted = FittedJudge(
        members=[
            new_network(recipe, latent=latent, pose_dim=world.spec.pose_dim, tasks=len(TASKS))
            for _ in range(2)
        ],
        calibration=Calibration(slope=3.0, offsets=(0.0,) * len(TASKS)),
        left_out={},
    )
    made = world_hash(home / "world")
    save_judge(home / "sure", fitted, recipe, world.spec, world=made)
    we.judge_again(run, str(home / "sure"), home / "moved", progress=False)
    table = scores(home / "moved")
    assert table["progress"].between(0, 1).all() and table["progress"].nunique() > 1
    assert "progress" in read_episodes(home / "moved").signals
    assert "progress" not in scores(run)
    bound = float(table["disagreement"].median())
    doubting = replace(fitted, abstain_above=bound)
    save_judge(home / "unsure", doubting, recipe, world.spec, world=made)
    result = we.judge_again(run, str(home / "unsure"), home / "seldom", progress=False)
    left = scores(home / "seldom")
    assert len(left) == (table["disagreement"] <= bound + 1e-6).sum() < len(table)
    told = [found for found in result.findings if found.code == "judge_abstains"]
    assert told and f"on {len(table) - len(left)} episodes" in told[0].text


def test_a_rule_asks_the_learned_judge(home: Path, run: Path) -> None:
    ref = f"rule:judge > 0.3 and p0 - start_p0 > 0.0?judge={home / 'judge'}"
    we.judge_again(run, ref, home / "both", progress=False)
    learned = load_learned(home / "judge")
    for rollout, verdict in RolloutStore(home / "both/imagined").rollouts():
        seen = learned.over_time([rollout])[0]
        both = (seen > 0.3) & (rollout.pose[:, 0] > rollout.pose[0, 0])
        assert verdict.probability == float(both[1:].any())
    assert 0 < scores(home / "both")["score"].mean() < 1


def test_a_rule_ranks_the_same_episodes(home: Path, run: Path) -> None:
    ref = "rule:p0 - start_p0 > 0.0"
    result = we.judge_again(run, ref, home / "rule", progress=False)
    table, episodes = scores(home / "rule"), RolloutStore(run / "imagined")
    for row in table.to_dict("records"):
        rollout, _ = episodes.find(policy=row["policy"], start=row["start"])
        reached = bool((rollout.pose[1:, 0] > rollout.pose[0, 0]).any())
        assert row["score"] == float(reached)
    assert any(found.code == "judge_uncalibrated" for found in result.findings)
    with pytest.raises(UserError, match="is the run itself"):
        we.judge_again(run, ref, run, progress=False)


def test_a_live_ranking_asks_a_chat_model_and_counts_what_it_cost(home: Path) -> None:
    protocol = make_run(home / "live", policies=POLICIES[:2], starts=2)
    with chat_server() as server:
        ref = f"vlm:{server.url}?model=toy&frames=2&price=10"
        out = home / "live/out"
        arguments = {"protocol": str(protocol), "out": out, "films": 1, "jobs": 1}
        we.rank(judge=ref, progress=False, **arguments)
        asked = len(server.asked)
        we.rank(judge=ref, progress=False, **arguments)  # a finished run asks nothing
        assert len(server.asked) == asked
    table = scores(out)
    # A picture that is neither red nor green is judged by chance, but always the same.
    assert set(table["score"].round(3)) <= {0.2, 0.8} and len(table) == 8
    cost = json.loads((out / "summary.json").read_text())["judge"]["cost"]
    assert cost["answers"] == 8 and cost["tokens"] == 800 and cost["cost"] == pytest.approx(0.008)


def test_a_chat_model_that_fails_leaves_holes_and_no_verdicts(home: Path, run: Path) -> None:
    with chat_server("prose") as server, pytest.raises(UserError, match="no verdict on any"):
        ref = f"vlm:{server.url}?model=toy&frames=2&retries=0"
        we.judge_again(run, ref, home / "prose", progress=False)


def test_abstentions_are_left_out_and_told(home: Path) -> None:
    protocol = make_run(home / "holes", policies=POLICIES[:2], starts=4)
    ref = code(
        home,
        "def make():\n"
        "    def picky(episodes):\n"
        "        return [None if e.id.endswith('1') else 0.25 for e in episodes]\n"
        "    return picky\n",
        "picky",
    )
    out = home / "holes/out"
    result = we.rank(protocol=str(protocol), judge=ref, out=out, films=0, jobs=1, progress=False)
    starts = {row["start"] for row in scores(out).to_dict("records")}
    assert starts and not any(start.endswith("1-1") for start in starts)
    told = [found for found in result.findings if found.code == "judge_abstains"]
    assert told and told[0].severity == "refusal"
    lines = (out / "errors.jsonl").read_text().splitlines()
    assert all("the judge abstains" in json.loads(line)["error"] for line in lines)


def test_what_has_no_verdict_is_asked_for_and_told_again(home: Path, run: Path) -> None:
    ref = code(
        home,
        "def make():\n"
        "    def rare(episodes):\n"
        "        return [0.5 if e.id.startswith('left') else None for e in episodes]\n"
        "    return rare\n",
        "rare",
    )
    without = [write_again(run, ref, home / "rare") for _ in range(2)]
    assert without[0] == without[1] == dict.fromkeys(POLICIES, 6)
    assert len(RolloutStore(home / "rare/imagined").done()) == 18
    (line, *_) = (home / "rare/errors.jsonl").read_text().splitlines()
    assert json.loads(line)["error"] == "the judge abstains: the judge gave no reason"


def test_a_recipe_may_not_name_code_as_its_judge(home: Path) -> None:
    protocol = make_run(home / "code", policies=POLICIES[:2], starts=2)
    text = protocol.read_text().replace(str(home / "code/judge"), "./mine.py:make")
    protocol.write_text(text)
    with pytest.raises(UserError, match="Python code to run as a judge"):
        we.rank(protocol=str(protocol), out=home / "code/out", progress=False)


def test_several_judges_are_a_panel(home: Path, run: Path) -> None:
    judges = [str(home / "judge"), "rule:p0 - start_p0 > 0.0"]
    result = we.judge_again(run, judges, home / "panel", progress=False)
    table, learned, rule = scores(home / "panel"), scores(run), scores(home / "rule")
    np.testing.assert_allclose(table["score"], (learned["score"] + rule["score"]) / 2, atol=2e-3)
    expected = (learned["score"] - rule["score"]).abs()
    np.testing.assert_allclose(table["disagreement"], expected, atol=2e-3)
    assert any(found.code == "judges_disagree" for found in result.findings)


def test_findings_name_the_policies() -> None:
    table = pd.DataFrame(
        {"policy": ["a", "a", "b", "b"], "score": [1.0] * 4, "disagreement": [0.9, 0.7, 0.1, 0.1]}
    )
    (told,) = panel_splits("x | rule:p0 > 1", table)
    assert "1 of 2 policies" in told.text and "a 0.80" in told.text
    assert panel_splits("x", table) == () and abstentions({}, table) == ()
    (few,) = abstentions({"b": 1}, pd.DataFrame({"policy": ["b"] * 19, "score": [1.0] * 19}))
    assert few.severity == "warning" and "b 5%" in few.text
    (same,) = says_one_thing(pd.DataFrame({"score": [1.0] * 10}))
    assert same.severity == "refusal" and "1.00 to all 10 episodes" in same.text
    assert says_one_thing(pd.DataFrame({"score": [1.0] * 9})) == ()
    assert says_one_thing(pd.DataFrame({"score": [1.0] * 9 + [0.9]})) == ()


def opinion(row: dict, label: str, who: str) -> str:
    said = Opinion(
        policy=row["policy"], task=row["task"], start=row["start"], seed=int(row["seed"]),
        label=label, who=who, when="2026-01-01T00:00:00+00:00",
    )  # fmt: skip
    return json.dumps(vars(said))


@pytest.fixture(scope="module")
def labelled(home: Path, run: Path) -> Path:
    """Two people labelled: ann everything, ben the first ten, of which he says one otherwise."""
    rows = scores(run).to_dict("records")
    lines = [
        opinion(row, "success" if number % 3 == 0 else "failure", "ann")
        for number, row in enumerate(rows)
    ]
    lines += [
        opinion(row, "success" if number % 3 == 0 or number == 1 else "failure", "ben")
        for number, row in enumerate(rows[:10])
    ]
    (run / "labels.jsonl").write_text("\n".join(lines) + "\n")
    return run


def test_people_judge_a_run(home: Path, labelled: Path) -> None:
    told = invoke("judge", "again", labelled, "--judge", "human", "--out", home / "people")
    assert "ann and ben agree on 9 of 10 episodes; Cohen's kappa 0.800 [" in told
    (pair,) = json.loads((home / "people/summary.json").read_text())["judge"]["people"]
    assert pair["episodes"] == 10 and pair["kappa"]["value"] == pytest.approx(0.8)
    table = scores(home / "people")
    assert len(table) == 35 and set(table["score"]) == {0.0, 1.0}  # one tie is no verdict
    lines = (labelled / "labels.jsonl").read_text()
    (labelled / "labels.jsonl").write_text(lines + lines.splitlines()[-1] + "\n")
    with pytest.raises(UserError, match="begun with another judge"):  # there are more labels now
        we.judge_again(labelled, "human", home / "people", progress=False)
    (labelled / "labels.jsonl").write_text(lines)
    judge = PeopleJudge(labelled)
    first, second = scores(labelled).to_dict("records")[:2]
    assert judge.label(first["policy"], first["start"], int(first["seed"])) is True
    assert judge.label(second["policy"], second["start"], int(second["seed"])) is None


def test_agreement_of_people_beyond_chance(labelled: Path) -> None:
    # Of ten: 9 equal; ann says success to 4, ben to 5 -> p_e = .4 * .5 + .6 * .5 = .5.
    (pair,) = between_people(read_opinions(labelled))
    assert (pair.one, pair.other, pair.equal, pair.episodes) == ("ann", "ben", 9, 10)
    assert pair.kappa.value == pytest.approx((0.9 - 0.5) / 0.5)


@pytest.fixture(scope="module")
def by_frames(home: Path, labelled: Path) -> Path:
    """The same episodes judged by code, with the labels of the two people."""
    text = "def make():\n    return lambda e: [0.2 + 0.6 * (k % 2) for k in range(len(e))]\n"
    ref = code(home, text, "half")
    we.judge_again(labelled, ref, home / "half", progress=False)
    (home / "half/labels.jsonl").write_text((labelled / "labels.jsonl").read_text())
    return home / "half"


def test_labels_correct_a_judge_of_frames(home: Path, by_frames: Path) -> None:
    found = calibrate_with_labels([by_frames], "people")
    assert found.labels == 35 and found.policies == 3 and found.correction is not None
    assert found.log_losses[found.method] == min(found.log_losses.values()) == found.log_loss_after
    assert found.rates == {}  # nobody says that these episodes were drawn at random
    truth = scores(by_frames).assign(success=[int(n % 3 == 0) for n in range(36)])
    csv = home / "labels.csv"
    truth[["policy", "task", "start", "success"]].to_csv(csv, index=False)
    file = home / "correction.json"
    said = invoke("judge", "calibrate", by_frames, "--labels", csv, "--out", file)
    assert json.loads(file.read_text())["labels"] == 36
    assert "36 labels of 3 policies" in said and all(policy in said for policy in POLICIES)
    csv.write_text(csv.read_text().split("\n")[0] + "\na/step-1,left,left-0,1\n")
    with pytest.raises(UserError, match="At least 10 labels"):
        calibrate_with_labels([by_frames], str(csv))


def test_a_learned_judge_keeps_its_calibration(home: Path, labelled: Path, by_frames: Path) -> None:
    file = home / "none.json"
    said = invoke("judge", "calibrate", labelled, "--labels", "people", "--out", file)
    assert "measured outcomes: --judge FOLDER" in said and not file.exists()
    with pytest.raises(UserError, match="different judges"):
        calibrate_with_labels([labelled, by_frames], "people")


def test_a_corrected_judge_is_not_corrected_again(home: Path, labelled: Path) -> None:
    (home / "c.json").write_text('{"slope": 1.0, "offset": 0.5, "labels": 12}')
    ref = f"rule:p0 - start_p0 > 0.0?calibration={home / 'c.json'}"
    we.judge_again(labelled, ref, home / "corrected", progress=False)
    with pytest.raises(UserError, match="was corrected already"):
        calibrate_with_labels([home / "corrected"], "people")


def test_recordings_are_labelled_once(home: Path) -> None:
    from tests.support.toy import toy_shards

    data = toy_shards(home / "recordings", episodes=10)
    ref = code(
        home,
        "def make():\n"
        "    def odd(episodes):\n"
        "        return [None if e.pose[0, 0] < 0 else 0.9 for e in episodes]\n"
        "    return odd\n",
        "odd",
    )
    out = home / "recorded.csv"
    said = invoke("data", "label", data, "--judge", ref, "--out", out)
    table = pd.read_csv(out, keep_default_na=False)
    assert len(table) == 20 and set(table["success"].str.lower()) <= {"true", ""}
    assert "without an answer" in said and "equal to the recorded outcome" in said
    (home / "odd.py").write_text(
        "def make():\n    def odd(e):\n        raise OSError\n    return odd"
    )
    labels = we.label_data(data, ref, out)  # nothing is left to ask
    assert [label.success for label in labels].count("true") == list(table["success"].astype(str)
        .str.lower()).count("true")  # fmt: skip
    confirm(out, labels[0].episode, "failure", who="ada")
    again = we.label_data(data, ref, out)  # what a person said stays
    assert (again[0].person, again[0].who, again[0].success) == ("false", "ada", labels[0].success)
    out.write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="not a file of labels"):
        we.label_data(data, ref, out)
