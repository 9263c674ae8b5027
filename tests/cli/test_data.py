"""`worldeval data ...` as a user types it."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from worldeval.cli import app
from worldeval.data.lerobot.layout import Layout
from worldeval.data.lerobot.write import LeRobotWriter
from worldeval.errors import UserError
from worldeval.record import Episode

runner = CliRunner()


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    layout = Layout(
        fps=10.0,
        views={"top": (32, 48)},
        action_names=("dx", "grip"),
        pose_names=("x", "y", "z"),
    )
    with LeRobotWriter(tmp_path / "set", layout) as writer:
        for index, success in enumerate((True, None)):
            writer.add(
                Episode(
                    id=str(index),
                    frames={"top": np.full((5, 32, 48, 3), 100, np.uint8)},
                    actions=np.full((5, 2), index, np.float32),
                    pose=np.linspace(0, 4, 5, dtype=np.float32)[:, None].repeat(3, axis=1),
                    task=("push", "pull")[index],
                    success=success,
                    fps=10.0,
                )
            )
    return tmp_path / "set"


def test_inspect_as_json(dataset: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    done = runner.invoke(app, ["data", "inspect", str(dataset), "--json", "--out", str(sheet)])
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert said["format"] == "lerobot-v3.0"
    assert (said["episodes"], said["frames"], said["fps"]) == (2, 10, 10.0)
    assert said["views"] == {"top": [32, 48]}
    assert said["tasks"] == {"push": 1, "pull": 1}
    assert said["success"] == {"true": 1, "false": 0, "unknown": 1}
    assert said["action"][0] == {"name": "dx", "min": 0, "max": 1, "p01": 0, "p99": 1}
    assert said["pose"][2]["name"] == "z"
    assert said["pose"][2]["max"] == 4
    with Image.open(sheet) as image:
        assert image.size == (3 * 164, 2 * (16 + 107 + 4))


def test_inspect_for_people(dataset: Path) -> None:
    done = runner.invoke(app, ["data", "inspect", str(dataset), "--no-sheet"])
    assert done.exit_code == 0, done.output
    assert "lerobot-v3.0" in done.stdout
    assert "10 at 10 a second" in done.stdout
    assert "1 true, 0 false, 1 unknown" in done.stdout


def test_convert(dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "set.hdf5"
    command = ["data", "convert", str(dataset), str(out), "--to", "robomimic", "--json"]
    done = runner.invoke(app, command)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == {
        "out": str(out),
        "format": "robomimic",
        "episodes": 2,
        "frames": 10,
        "skipped": [],
    }
    assert runner.invoke(app, ["data", "inspect", str(out), "--no-sheet"]).exit_code == 0


def test_inspect_of_nothing(tmp_path: Path) -> None:
    done = runner.invoke(app, ["data", "inspect", str(tmp_path)])
    assert isinstance(done.exception, UserError)
    assert "in none of the formats read here" in str(done.exception)


def test_inspect_of_an_unknown_format(dataset: Path) -> None:
    done = runner.invoke(app, ["data", "inspect", str(dataset), "--format", "lerobo"])
    assert isinstance(done.exception, UserError)
    assert "Did you mean 'lerobot'?" in str(done.exception)
