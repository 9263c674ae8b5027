"""From a run folder to a dataset: the judge's verdict decides, and nothing gets lost on the way."""

from pathlib import Path

import numpy as np
import pytest

from worldeval.errors import UserError
from worldeval.export import imagined
from worldeval.export.imagined import open_imagined
from worldeval.record import Rollout, Verdict
from worldeval.runs.store import RolloutStore
from worldeval.world.protocol import WorldSpec

VOTES = ((0.85, 0.95), (0.3,), (0.4, 1.0))  # of the judge's members
HEADER = "policy,lineage,step,task,start,seed,score\n"


class Painted:
    """A world that renders every latent as one grey: its value in bytes."""

    spec = WorldSpec(
        views=("side",), size=(32, 32), latent=(2, 1, 1), action_dim=2, pose_dim=5, tasks=("open",),
        fps=16.0,
    )  # fmt: skip

    def render(self, latents, tasks):
        assert len(tasks) == len(latents)
        grey = latents[:, 0, 0, 0, 0].astype(np.uint8)
        return {"side": np.tile(grey[:, None, None, None], (1, 32, 32, 3))}


@pytest.fixture
def run(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setattr(imagined, "world_hash", lambda folder: f"hash of {folder.name}")
    rollouts, verdicts, rows = [], [], []
    for index, probability in enumerate((0.9, 0.3, 0.7)):
        rollouts.append(
            Rollout(
                start=f"s{index}",
                task="open",
                policy=f"bc/step-{index}",
                seed=index,
                actions=np.full((3, 2), index, np.float32),
                pose=np.zeros((4, 5), np.float32),
                latents=np.full((4, 1, 2, 1, 1), 10 * index, np.float16),
                trust={"mended_actions": index / 10},
            )
        )
        verdicts.append(
            Verdict(probability=probability, step=2, judge="learned", votes=VOTES[index])
        )
        rows.append(f"bc/step-{index},bc,{index},open,s{index},{index},{probability}\n")
    RolloutStore(tmp_path / "imagined").save("batch", rollouts, verdicts)
    (tmp_path / "outcomes").mkdir()
    (tmp_path / "outcomes/imagined.csv").write_text(HEADER + "".join(rows))
    (tmp_path / "recipe.yaml").write_text("kind: closed-loop\nworld: models/small\n")
    return tmp_path


def test_records_join_verdict_outcome_and_world(run: Path) -> None:
    first = open_imagined(run).records()[0]
    assert first == {
        "origin": "imagined",
        "success": True,
        "probability": 0.9,
        "policy": "bc/step-0",
        "lineage": "bc",
        "step": 0.0,
        "task": "open",
        "start": "s0",
        "seed": 0,
        "judge": "learned",
        "reached": 2,
        "world_model": "hash of small",
        "disagreement": pytest.approx(0.1),
        "mended_actions": 0.0,
        "trust": pytest.approx(0.9),
    }


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (None, ["s0", "s1", "s2"]),
        ("success", ["s0", "s2"]),
        ("success and probability > 0.8", ["s0"]),
        ("success and trust > 0.8", ["s0"]),
        ("trust > 0.8", ["s0", "s1"]),
        ("not success or mended_actions > 0.15", ["s1", "s2"]),
    ],
)
def test_selection(run: Path, text: str | None, kept: list[str]) -> None:
    assert [record["start"] for record in open_imagined(run).select(text)] == kept


def test_chosen_episodes_are_rendered(run: Path) -> None:
    opened = open_imagined(run)
    episodes = list(opened.episodes(opened.select("success"), Painted()))
    assert [episode.id for episode, _ in episodes] == ["bc/step-0/s0/0", "bc/step-2/s2/2"]
    second, record = episodes[1]
    assert second.frames["side"].shape == (4, 32, 32, 3)
    assert (second.frames["side"] == 20).all()
    assert second.actions.shape == (4, 2)  # a row to every frame, the last never carried out
    assert (second.success, record["probability"]) == (True, 0.7)


def test_what_is_missing_is_named(run: Path, tmp_path: Path) -> None:
    (run / "outcomes/imagined.csv").write_text(HEADER)
    with pytest.raises(
        UserError, match=r"no row for policy bc/step-0, task open, start s0, seed 0"
    ):
        open_imagined(run).records()
    (run / "outcomes/imagined.csv").write_text(HEADER.replace(",score", ""))
    with pytest.raises(UserError, match="has no column score"):
        open_imagined(run).records()
    (run / "recipe.yaml").write_text("kind: closed-loop\n")
    with pytest.raises(UserError, match=r"names no world model\. Pass its folder with --world"):
        open_imagined(run)
    with pytest.raises(UserError, match="is not a run folder"):
        open_imagined(tmp_path / "nowhere")
