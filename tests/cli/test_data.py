"""`worldeval data ...` as a user types it."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.support.droid import droid_folder
from worldeval.cli import app
from worldeval.data.formats.lerobot.layout import Layout
from worldeval.data.formats.lerobot.write import LeRobotWriter
from worldeval.data.latent_cache import LatentCache
from worldeval.data.source import open_source
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
        assert image.size == (3 * 164, 16 + 2 * (16 + 107 + 4))


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


def test_convert_into_what_training_reads(dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "shards"
    words = ["data", "convert", str(dataset), str(out), "--to", "shards", "--size", "16x24"]
    done = runner.invoke(app, words)
    assert done.exit_code == 0, done.output
    said = json.loads(
        runner.invoke(app, ["data", "inspect", str(out), "--no-sheet", "--json"]).stdout
    )
    assert (said["format"], said["frames"]) == ("worldeval-shards", 10)
    assert said["views"] == {"top": [16, 24]}
    assert [row["name"] for row in said["pose"]] == ["x", "y", "z"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--size", "64"], "such as 64x64"),
        (["--rotation", "6D"], "Did you mean '6d'"),
        (["--rotation", "6d"], "no columns roll, pitch, yaw"),
        (["--split", "tran"], "Did you mean 'train'"),
    ],
)
def test_convert_mistakes(dataset: Path, tmp_path: Path, words: list[str], message: str) -> None:
    done = runner.invoke(app, ["data", "convert", str(dataset), str(tmp_path / "out"), *words])
    assert isinstance(done.exception, UserError)
    assert message in str(done.exception)


def test_check_of_sound_data(dataset: Path) -> None:
    done = runner.invoke(app, ["data", "check", str(dataset), "--json"])
    assert done.exit_code == 0, done.output
    (found,) = json.loads(done.stdout)
    keys = ["code", "severity", "episode", "field", "text", "count", "episodes", "fields"]
    assert list(found) == keys
    assert (found["code"], found["severity"]) == ("unknown-success", "warning")


def test_check_ends_in_1_where_training_would_be_harmed(dataset: Path, tmp_path: Path) -> None:
    source = open_source(dataset)
    layout = Layout(
        fps=10.0,
        views=source.spec.views,
        action_names=source.spec.action_names,
        pose_names=source.spec.pose_names,
    )
    with LeRobotWriter(tmp_path / "twice", layout) as writer:
        for index in (0, 1, 1):
            writer.add(source.episode(index))
    done = runner.invoke(app, ["data", "check", str(tmp_path / "twice")])
    assert done.exit_code == 1
    assert "error: duplicate-episode: episode 1: rows has the same actions" in done.stdout
    assert "3 episodes, 3 findings, 2 harmful" in done.stdout


def test_encode_of_data_without_latents(dataset: Path, tmp_path: Path) -> None:
    done = runner.invoke(app, ["data", "encode", str(dataset), "--out", str(tmp_path / "latents")])
    assert isinstance(done.exception, UserError)
    assert "has no precomputed latents" in str(done.exception)


def test_encode_latents_that_the_data_bring(tmp_path: Path) -> None:
    out = tmp_path / "latents"
    done = runner.invoke(app, ["data", "encode", str(droid_folder()), "--out", str(out), "--json"])
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert (said["episodes"], said["decoded_psnr"]) == (9, None)
    assert LatentCache(out).latents(8).shape == (41, 3, 4, 24, 40)


def test_inspect_of_nothing(tmp_path: Path) -> None:
    done = runner.invoke(app, ["data", "inspect", str(tmp_path)])
    assert isinstance(done.exception, UserError)
    assert "not in a supported format" in str(done.exception)


def test_inspect_of_an_unknown_format(dataset: Path) -> None:
    done = runner.invoke(app, ["data", "inspect", str(dataset), "--format", "lerobo"])
    assert isinstance(done.exception, UserError)
    assert "Did you mean 'lerobot'?" in str(done.exception)
