import json
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from worldeval.cli import policy
from worldeval.data.formats.shards.layout import ShardEpisode, write_shard
from worldeval.errors import UserError
from worldeval.record import Episode

RECIPE = """
kind: policy-set
policy: {validation_per_task: 1, trainer: {steps: 2, batch: 4, warmup: 1}}
lineages:
  - {name: one, seed: 1}
  - {name: two, seed: 2, change: {head: flow}}
"""


@pytest.fixture
def command() -> typer.Typer:
    app = typer.Typer()
    policy.register(app)
    app.command("other")(lambda: None)
    return app


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    items = []
    for number in range(4):
        frames = rng.integers(0, 255, (5, 16, 16, 3), dtype=np.uint8)
        episode = Episode(
            id=f"e{number}",
            frames={"side": frames, "top": frames},
            actions=rng.uniform(-1, 1, (5, 8)).astype(np.float32),
            pose=rng.normal(size=(5, 4)).astype(np.float32),
            task="pull-v3",
            success=True,
            fps=16.0,
            source="expert",
        )
        items.append(ShardEpisode(episode=episode, flags=np.zeros(5, np.uint8), seed=number))
    write_shard(tmp_path / "data" / "a.h5", items)
    return tmp_path / "data"


def test_train_prints_its_checkpoints_as_json(
    command: typer.Typer, data: Path, tmp_path: Path
) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(RECIPE)
    args = ["policy", "train", str(recipe), "--data", str(data), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(command, [*args, "--set", "policy.trainer.steps=3", "--json"])
    assert done.exit_code == 0, done.output
    made = json.loads(done.stdout)
    assert [(row["lineage"], row["step"]) for row in made] == [("one", 3), ("two", 3)]
    for row in made:
        assert (Path(row["checkpoint"]) / "policy.safetensors").is_file()
        assert row["validation_mse"] > 0
    assert (tmp_path / "out" / "recipe.yaml").is_file()


def test_a_folder_without_data_is_a_mistake_of_the_user(
    command: typer.Typer, tmp_path: Path
) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(RECIPE)
    done = CliRunner().invoke(
        command, ["policy", "train", str(recipe), "--data", str(tmp_path / "empty")]
    )
    assert isinstance(done.exception, UserError)
    assert not (tmp_path / "runs").exists()
