# h5py types every item as a group, a dataset or a datatype.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportIndexIssue=false
"""`worldeval export` as a user types it: from a run folder to a dataset a trainer loads."""

import json
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from worldeval.cli import app
from worldeval.data.formats.lerobot.layout import Layout
from worldeval.data.formats.lerobot.write import LeRobotWriter
from worldeval.data.source import open_source
from worldeval.errors import UserError
from worldeval.record import Episode, Rollout, Verdict
from worldeval.runs.store import RolloutStore
from worldeval.world.load import world_hash

runner = CliRunner()
WORLD = Path(__file__).parents[2] / "models/latent"
TASK, STEPS, ACTIONS = "drawer-open-v3", 2, 20
# Probability of success, votes of the judge's members, share of mended actions.
JUDGED = ((0.9, (0.85, 0.95), 0.0), (0.9, (0.5, 1.0), 0.0), (0.9, (0.9,), 0.4), (0.2, (0.2,), 0.0))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Four imagined roll-outs of the shipped world model, judged by hand."""
    rng = np.random.default_rng(0)
    rollouts = [
        Rollout(
            start=f"s{index}",
            task=TASK,
            policy="bc/step-10",
            seed=index,
            actions=rng.uniform(-1, 1, (STEPS, ACTIONS)).astype(np.float32),
            pose=np.zeros((STEPS + 1, 4), np.float32),
            latents=rng.normal(size=(STEPS + 1, 2, 16, 8, 8)).astype(np.float16),
            trust={"mended_actions": mended},
        )
        for index, (_, _, mended) in enumerate(JUDGED)
    ]
    verdicts = [Verdict(probability=p, step=1, judge="by hand", votes=v) for p, v, _ in JUDGED]
    folder = tmp_path / "run"
    RolloutStore(folder / "imagined").save("batch", rollouts, verdicts)
    (folder / "outcomes").mkdir()
    rows = [f"bc/step-10,bc,10,{TASK},s{i},{i},{p}\n" for i, (p, _, _) in enumerate(JUDGED)]
    head = "policy,lineage,step,task,start,seed,score\n"
    (folder / "outcomes/imagined.csv").write_text(head + "".join(rows))
    (folder / "recipe.yaml").write_text(f"kind: closed-loop\nworld: {WORLD}\n")
    return folder


def export(*words: object) -> dict:
    done = runner.invoke(app, ["export", *map(str, words), "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_trusted_successes_as_lerobot(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "made"
    said = export(run, "--select", "success and trust > 0.8", "--to", "lerobot", out)
    assert (said["out"], said["episodes"], said["successes"], said["of"]) == (str(out), 1, 1, 4)
    (episode,) = open_source(out)
    assert (episode.id, episode.task, episode.success) == ("bc/step-10/s0/0", TASK, True)
    assert (episode.actions.shape, episode.fps) == ((STEPS + 1, ACTIONS), 16.0)
    (line,) = map(json.loads, (out / "meta/provenance.jsonl").read_text().splitlines())
    assert line["world_model"] == world_hash(WORLD)
    assert (line["policy"], line["seed"], line["start"]) == ("bc/step-10", 0, "s0")
    assert (line["judge"], line["probability"], line["trust"]) == ("by hand", 0.9, 0.9)
    assert line["disagreement"] == pytest.approx(0.1)
    facts = json.loads((out / "meta/provenance.json").read_text())
    assert (facts["select"], facts["kept"]) == ("success and trust > 0.8", "1 of 4")
    assert "- select: `success and trust > 0.8`" in (out / "README.md").read_text()


def test_a_failure_is_exported_as_one(run: Path) -> None:
    said = export(run)
    assert (said["episodes"], said["successes"]) == (4, 3)
    source = open_source(run / "dataset")
    assert [head.success for head in source.heads] == [True, True, True, False]
    table = pd.read_parquet(run / "dataset/meta/episodes/chunk-000/file-000.parquet")
    assert table["worldeval/probability"].tolist() == [0.9, 0.9, 0.9, 0.2]
    assert table["worldeval/trust"].tolist() == [0.9, 0.5, 0.6, 1.0]


def test_robomimic(run: Path) -> None:
    said = export(run, "--select", "trust > 0.8", "--to", "robomimic")
    assert (said["out"], said["episodes"]) == (str(run / "dataset.hdf5"), 2)
    with h5py.File(run / "dataset.hdf5") as file:
        demos = [file[f"data/demo_{number}"] for number in (0, 1)]
        assert [demo.attrs["success"] for demo in demos] == [1, 0]
        assert [demo.attrs["probability"] for demo in demos] == [0.9, 0.2]
        assert demos[0]["obs/side_image"].shape == (STEPS + 1, 64, 64, 3)
        assert np.isin(["mended_actions", "trust", "world_model"], list(demos[0].attrs)).all()


def real(folder: Path) -> Path:
    """Recorded episodes that fit the shipped world model; the last is held out."""
    views = ("side", "top")
    layout = Layout(
        fps=16.0,
        views=dict.fromkeys(views, (64, 64)),
        action_names=tuple(map(str, range(ACTIONS))),
        pose_names=tuple("xyzg"),
    )
    with LeRobotWriter(folder, layout) as writer:
        for index in range(3):
            episode = Episode(
                id=f"real-{index}",
                frames={view: np.full((3, 64, 64, 3), 50 * index, np.uint8) for view in views},
                actions=np.zeros((3, ACTIONS), np.float32),
                pose=np.zeros((3, 4), np.float32),
                task=TASK,
                success=(True, None, True)[index],
                fps=16.0,
                source="teleoperation",
            )
            writer.add(episode, columns={"split": "train" if index < 2 else "val"})
    return folder


def test_half_of_it_real(run: Path, tmp_path: Path) -> None:
    recorded = real(tmp_path / "recorded")
    said = export(run, "--select", "trust > 0.8", "--mix", recorded, "--ratio", 0.5)
    assert (said["episodes"], said["imagined"], said["recorded"]) == (4, 2, 2)
    table = pd.read_parquet(run / "dataset/meta/episodes/chunk-000/file-000.parquet")
    assert table["worldeval/origin"].tolist() == ["imagined"] * 2 + ["recorded"] * 2
    assert table["worldeval/id"].tolist()[2:] == ["real-0", "real-1"]  # never the held-out one
    assert table["worldeval/policy"].tolist()[2:] == ["teleoperation"] * 2
    assert table["worldeval/trust"].isna().tolist() == [False, False, True, True]
    assert [head.success for head in open_source(run / "dataset").heads] == [
        True,
        False,
        True,
        None,
    ]
    facts = json.loads((run / "dataset/meta/provenance.json").read_text())
    assert facts["mixed_in"] == "2 episodes of recorded"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--to", "lerobt"], "Did you mean 'lerobot'"),
        (["--to", "robomimic", "folder"], "Give a name such as folder.hdf5"),
        (["--select", "trust > 2"], "keeps none of 4 roll-outs"),
        (["--select", "truts > 0.8"], "Did you mean 'trust'"),
    ],
)
def test_mistakes(run: Path, words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        runner.invoke(app, ["export", str(run), *words], catch_exceptions=False)


def test_a_share_that_the_recorded_data_cannot_give(run: Path, tmp_path: Path) -> None:
    recorded = real(tmp_path / "recorded")
    words = ["export", str(run), "--mix", str(recorded), "--ratio", "0.6"]
    with pytest.raises(
        UserError, match=r"needs 6 recorded ones, but there are 2\. Lower --ratio to 0\.33"
    ):
        runner.invoke(app, words, catch_exceptions=False)


def checked(run: Path, *findings: tuple[str, str, str]) -> None:
    """Write the summary of a run with these findings: code, severity, text."""
    listed = [{"code": c, "severity": s, "text": t} for c, s, t in findings]
    (run / "summary.json").write_text(json.dumps({"findings": listed}))


FALSE = ("false_success", "refusal", "Failures come out as success.")
ORDER = ("no_paired_truth", "refusal", "Nothing was measured.")


def test_a_run_whose_checks_refused_is_not_exported(run: Path, tmp_path: Path) -> None:
    checked(run, FALSE, ORDER, ("task_biased", "warning", "Biased."))
    done = runner.invoke(app, ["export", str(run), "--out", str(tmp_path / "made")])
    assert isinstance(done.exception, UserError)
    assert "(1) Failures come out as success." in str(done.exception)
    assert "Nothing was measured" not in str(done.exception)  # that is about the order of policies
    assert "--despite-refusals" in str(done.exception)
    assert not (tmp_path / "made").exists()


def test_despite_refusals_the_card_names_them(run: Path, tmp_path: Path) -> None:
    checked(run, FALSE, ORDER)
    export(run, tmp_path / "made", "--despite-refusals")
    card = (tmp_path / "made/README.md").read_text()
    assert "- `false_success`: Failures come out as success." in card
    assert "- `no_paired_truth`: Nothing was measured." in card
    facts = json.loads((tmp_path / "made/meta/provenance.json").read_text())
    assert facts["refused_by_checks"] == "false_success, no_paired_truth"


def test_what_was_not_checked_or_not_refused_is_said(run: Path, tmp_path: Path) -> None:
    export(run, tmp_path / "unchecked")
    assert "This run was not checked" in (tmp_path / "unchecked/README.md").read_text()
    checked(run, ORDER)
    export(run, tmp_path / "unordered")
    assert "- `no_paired_truth`" in (tmp_path / "unordered/README.md").read_text()
    checked(run)
    export(run, tmp_path / "sound")
    assert "No check of the run refused" in (tmp_path / "sound/README.md").read_text()
