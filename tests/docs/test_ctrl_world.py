"""The commands of docs/ctrl-world.md run as they stand, on the published files at a tiny size."""

import re
import shlex
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from tests.support.ctrl_world_release import SMALL, droid_like, release
from tests.support.reach_data import JUDGE
from worldeval import recipe as recipes
from worldeval.api import learn
from worldeval.cli import app
from worldeval.data.weighted import Weighted
from worldeval.errors import UserError
from worldeval.world.ctrl_world.world import CtrlWorld
from worldeval.world.load import load_world
from worldeval.world.training.prepare import Prepared, prepare

pytest.importorskip("diffusers")

PAGE = Path(__file__).parents[2] / "docs/ctrl-world.md"
FEW = {
    **SMALL, "kinematics.trainer.steps": 6, "kinematics.trainer.batch": 8,
    "kinematics.unroll": 3, "edm.steps": 2, "memory.recall": [2, 1],
}  # fmt: skip
FAST = {
    "learn": ["--jobs", "1", *(w for k, v in FEW.items() for w in ("--set", f"{k}={v}"))],
    "rank": ["--jobs", "1", "--films", "0", "--starts", "1", "--set", "horizon=4"],
}
POLICY = """\
import numpy as np

from worldeval.policy.builtin import Zero

class Stay(Zero):
    def act(self, observation):
        return np.repeat(observation.pose[:, None], self.spec.chunk, axis=1)


def make():
    return Stay(action_dim=7, chunk=4, views=("exterior_1", "exterior_2", "wrist"))
"""


def commands() -> list[list[str]]:
    """The words of every command in the page's code blocks, without `worldeval`."""
    text = re.sub(r" *\\\n +", " ", PAGE.read_text())
    return [shlex.split(line)[1:] for line in re.findall(r"^    (worldeval .+)$", text, re.M)]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the published files and a dataset with latents."""
    folder = release(tmp_path_factory.mktemp("published"))
    droid_like(folder / "droid", {"train": 10, "val": 2}, vae=folder / "svd")
    (folder / "mine.py").write_text(POLICY)
    return folder


def test_the_page_walks_from_the_published_files_to_a_ranking(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the judge's size is set from outside: `learn` has no option for it."""
    small = partial(learn.train_judge, settings=JUDGE)
    monkeypatch.setattr(learn, "train_judge", lambda *args, settings, **rest: small(*args, **rest))
    monkeypatch.chdir(files)
    assert [words[0] for words in commands()] == ["data", "learn", "rank"]
    for words in commands():
        done = CliRunner().invoke(app, [*words, *FAST.get(words[0], [])])
        assert done.exit_code == 0, (words, done.output, done.exception)
    assert (files / "runs/droid/summary.json").is_file()

    world = load_world(files / "lab/world", device="cpu")
    assert isinstance(world, CtrlWorld)
    assert (world.spec.pose_dim, world.spec.turned_pose.first) == (7, (3,))
    published = torch.load(files / "checkpoint-10000.pt", weights_only=True)
    for key, value in world.denoiser.network.state_dict().items():
        torch.testing.assert_close(value, published[key], atol=1e-3, rtol=1e-3)  # half precision
    # The roll passes pi in every episode, but nothing that learns saw it jump.
    assert world.kinematics.features.step_std.max() < 0.5


def test_rollouts_without_latents_are_encoded_by_the_named_autoencoder_or_refused(
    files: Path, tmp_path: Path
) -> None:
    evaluations = droid_like(tmp_path / "evaluations", {"train": 4}, first=100)
    with pytest.raises(UserError, match=r"has no precomputed latents.*tokenizer.folder"):
        prepared(files, tmp_path / "refused", weak=[evaluations], folder="")
    found = prepared(files, tmp_path / "world", weak=[evaluations], folder=str(files / "svd"))
    assert (len(found.episodes), found.weak.tolist()) == (16, [12, 13, 14, 15])
    one = found.training(weak=True, without_fold=0, folds=2)
    assert len(one) == 10 + 2  # what is held out and one fold of the roll-outs are left out
    # Stored latents are those made here, apart from rounding to half precision.
    stored = droid_like(tmp_path / "stored", {"train": 4}, vae=files / "svd", first=100)
    again = prepared(files, tmp_path / "again", weak=[stored], folder="")
    rows = slice(int(found.episodes.begin[12]), None)
    both = [each.episodes.gather(np.arange(160)[rows]).numpy() for each in (found, again)]
    assert both[0] == pytest.approx(both[1], abs=0.01)


def prepared(files: Path, home: Path, *, weak: list[Path], folder: str) -> Prepared:
    settings = {**FEW, "checkpoint": str(files / "checkpoint-10000.pt"), "tokenizer.folder": folder}
    recipe = recipes.load("ctrl-world", "model", settings).config
    parts = [Weighted(path=files / "droid")]

    def quiet(stage: str, steps: int | None = None):
        return lambda step, loss: None

    return prepare(recipe, parts, weak, home, seed=0, report=quiet)
