"""Videos that are not there: a view without any is left out, a lost file costs its episodes."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.support.sound_datasets import COUNT, make
from worldeval.cli import app
from worldeval.data.check.check import check
from worldeval.data.convert import convert
from worldeval.data.finding import grouped
from worldeval.data.source import open_source
from worldeval.errors import UserError

runner = CliRunner()
TOP = "observation.images.top"


def with_views(root: Path, *listed: str, kept: tuple[str, ...] = ()) -> Path:
    """List further views in info.json, with files for those `kept`; `top` has its own."""
    info = json.loads((root / "meta/info.json").read_text())
    for view in listed:
        info["features"][f"observation.images.{view}"] = info["features"][TOP]
        for file in root.glob(f"videos/{TOP}/**/*.mp4"):
            if view in kept:
                copy = Path(str(file).replace(TOP, f"observation.images.{view}"))
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, copy)
    (root / "meta/info.json").write_text(json.dumps(info))
    return root


@pytest.mark.parametrize(
    ("listed", "kept", "left"),
    [(("wrist",), (), ["top"]), (("wrist", "side"), (), ["top"]),
     (("wrist", "side"), ("side",), ["top", "side"])],
)  # fmt: skip
def test_a_view_that_no_episode_has_is_left_out(listed, kept, left, tmp_path: Path) -> None:
    source = open_source(with_views(make("lerobot-v2", tmp_path / "set"), *listed, kept=kept))
    assert list(source.spec.views) == left
    (found,) = [f for f in check(source) if f.code == "view-missing"]
    assert found.severity == "warning"
    assert found.count == len(listed) - len(kept)
    assert "is listed in meta/info.json, but no episode has its video" in found.text
    done = convert(source, tmp_path / "out", to="lerobot")
    assert done.episodes == COUNT
    assert list(open_source(tmp_path / "out").spec.views) == left


@pytest.mark.parametrize("lost", [1, 2])
def test_a_lost_file_costs_its_episode_in_every_verb(lost: int, tmp_path: Path) -> None:
    root = make("lerobot-v2", tmp_path / "set")
    for file in sorted(root.rglob("*.mp4"))[:lost]:
        file.unlink()
    source = open_source(root)
    assert len(source) == COUNT - lost
    (found,) = [f for f in grouped(source.findings) if f.code == "episode-skipped"]
    assert found.count == lost
    assert "episode_000000.mp4 does not exist" in found.text
    shown = runner.invoke(app, ["data", "inspect", str(root), "--json", "--no-sheet"])
    assert shown.exit_code == 1
    assert json.loads(shown.stdout)["findings"][0]["code"] == "episode-skipped"
    assert runner.invoke(app, ["data", "check", str(root)]).exit_code == 1
    with pytest.raises(UserError, match="cannot be read; the first: excluded"):
        convert(source, tmp_path / "out", to="lerobot")
    done = convert(source, tmp_path / "out", to="lerobot", skip_damaged=True)
    assert (done.episodes, len(done.skipped)) == (COUNT - lost, lost)


@pytest.mark.parametrize("kind", ["lerobot-v2", "lerobot-v3"])
def test_without_any_video_inspect_says_so(kind: str, tmp_path: Path) -> None:
    root = make(kind, tmp_path / "set")
    shutil.rmtree(root / "videos")
    shown = runner.invoke(app, ["data", "inspect", str(root), "--json"])
    assert shown.exit_code == 1
    told = json.loads(shown.stdout)
    assert [(f["code"], f["severity"]) for f in told["findings"]] == [("view-missing", "error")]
    assert "No view is left; download the videos" in told["findings"][0]["text"]
    assert runner.invoke(app, ["data", "check", str(root)]).exit_code == 1
    with pytest.raises(UserError, match="has no readable camera"):
        convert(open_source(root), tmp_path / "out", to="lerobot")
