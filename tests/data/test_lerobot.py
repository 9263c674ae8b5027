"""LeRobot v3.0: everything that is written is read back, through many files and after a stop."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from worldeval.data.check.check import check
from worldeval.data.finding import DataError
from worldeval.data.formats.lerobot import stats
from worldeval.data.formats.lerobot.layout import FileLimits, Layout
from worldeval.data.formats.lerobot.write import LeRobotWriter
from worldeval.data.source import open_source
from worldeval.data.video import VideoWriter
from worldeval.errors import UserError

LAYOUT = Layout(
    fps=10.0,
    views={"top": (48, 64), "wrist": (32, 32)},
    action_names=("dx", "dy", "dz", "grip"),
    pose_names=("x", "y", "z"),
)
TINY = FileLimits(data_mb=0.008, video_mb=0.004, files_per_chunk=2)


def write(out: Path, episodes, layout: Layout = LAYOUT) -> Path:
    with LeRobotWriter(out, layout) as writer:
        for episode in episodes:
            writer.add(episode)
    return out


@pytest.fixture
def seven(made):
    return [made(i, length=8 + i) for i in range(7)]


def test_round_trip_over_several_files_and_chunks(tmp_path: Path, seven, quality) -> None:
    out = write(tmp_path / "set", seven, Layout(**{**LAYOUT.__dict__, "limits": TINY}))
    assert (out / "data/chunk-001/file-000.parquet").is_file()
    assert (out / "videos/observation.images.top/chunk-001/file-000.mp4").is_file()
    back = open_source(out)
    assert back.spec.format == "lerobot-v3.0"
    assert dict(back.spec.views) == dict(LAYOUT.views)
    assert (back.spec.action_names, back.spec.pose_names) == (
        LAYOUT.action_names,
        LAYOUT.pose_names,
    )
    assert not back.findings
    for index, episode in enumerate(seven):
        read = back.episode(index)
        assert (read.id, read.task, read.source) == (episode.id, episode.task, episode.source)
        assert read.success is episode.success
        assert read.fps == episode.fps
        assert np.array_equal(read.actions, episode.actions)
        assert np.array_equal(read.pose, episode.pose)
        for view in LAYOUT.views:
            assert quality(read.frames[view], episode.frames[view]) > 38


def test_the_files_say_what_lerobot_expects(tmp_path: Path, seven) -> None:
    out = write(tmp_path / "set", seven)
    info = json.loads((out / "meta/info.json").read_text())
    assert info["codebase_version"] == "v3.0"
    assert (info["total_episodes"], info["total_frames"], info["total_tasks"]) == (7, 77, 3)
    assert info["splits"] == {"train": "0:7"}
    assert info["features"]["observation.images.top"]["shape"] == [48, 64, 3]
    rows = pq.read_table(out / "data/chunk-000/file-000.parquet")
    numbers = [k for k, f in info["features"].items() if f["dtype"] != "video"]
    assert sorted(rows.column_names) == sorted(numbers)
    assert rows["index"].to_pylist() == list(range(77))
    tasks = pd.read_parquet(out / "meta/tasks.parquet")
    assert list(tasks.index) == ["open the drawer", "close the drawer", ""]
    assert list(tasks["task_index"]) == [0, 1, 2]
    episodes = pd.read_parquet(out / "meta/episodes/chunk-000/file-000.parquet")
    assert list(episodes["dataset_to_index"]) == list(np.cumsum([8, 9, 10, 11, 12, 13, 14]))
    key = "videos/observation.images.wrist/from_timestamp"
    assert list(episodes[key]) == [n / 10 for n in np.cumsum([0, 8, 9, 10, 11, 12, 13])]


def test_success_is_true_on_the_last_frame_only(tmp_path: Path, made) -> None:
    out = write(tmp_path / "set", [made(0, length=5), made(1, length=4)])  # success, failure
    rows = pq.read_table(out / "data/chunk-000/file-000.parquet")
    assert rows["next.success"].to_pylist() == [False] * 4 + [True] + [False] * 4
    assert rows["next.done"].to_pylist() == [False] * 4 + [True] + [False] * 3 + [True]


def test_statistics_are_those_of_all_rows(tmp_path: Path, seven) -> None:
    out = write(tmp_path / "set", seven)
    kept = json.loads((out / "meta/stats.json").read_text())
    actions = np.concatenate([episode.actions for episode in seven]).astype(np.float64)
    assert kept["action"]["mean"] == pytest.approx(actions.mean(axis=0))
    assert kept["action"]["std"] == pytest.approx(actions.std(axis=0))
    assert kept["action"]["q01"] == pytest.approx(np.quantile(actions, 0.01, axis=0))
    assert kept["action"]["count"] == [77]
    image = kept["observation.images.top"]
    assert np.shape(image["mean"]) == (3, 1, 1)
    frames = np.concatenate([episode.frames["top"] for episode in seven]) / 255
    assert np.ravel(image["mean"]) == pytest.approx(frames.mean(axis=(0, 1, 2)))
    assert np.ravel(image["std"]) == pytest.approx(frames.std(axis=(0, 1, 2)))
    assert np.ravel(image["max"]) == pytest.approx(frames.max(axis=(0, 1, 2)))


def test_running_statistics_equal_those_of_the_whole() -> None:
    values = np.random.default_rng(0).normal(3, 2, size=(50, 2))
    running = stats.Running()
    for part in (values[:7], values[7:8], values[8:]):
        running.add(part)
    whole = stats.of_numbers(values)
    for name, value in running.stats().items():
        assert value == pytest.approx(whole[name], rel=1e-6), name


def test_an_interrupted_writing_leaves_no_dataset_and_continues(tmp_path: Path, seven) -> None:
    out = tmp_path / "set"
    with pytest.raises(KeyboardInterrupt), LeRobotWriter(out, LAYOUT) as writer:
        writer.add(seven[0])
        writer.add(seven[1])
        raise KeyboardInterrupt
    assert not out.exists()
    with LeRobotWriter(out, LAYOUT) as writer:
        assert [writer.has(place) for place in range(3)] == [True, True, False]
        for episode in seven[2:]:
            writer.add(episode)
    assert [head.id for head in open_source(out).heads] == [f"made-{i}" for i in range(7)]
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_another_dataset_is_not_continued(tmp_path: Path, seven) -> None:
    LeRobotWriter(tmp_path / "set", LAYOUT, origin="one").add(seven[0])
    with pytest.raises(UserError, match="interrupted conversion of another dataset"):
        LeRobotWriter(tmp_path / "set", LAYOUT, origin="two")


def test_one_dimension_is_a_plain_number(tmp_path: Path, made) -> None:
    episode = made(0)
    narrow = type(episode)(**{**episode.__dict__, "actions": episode.actions[:, :1]})
    out = write(tmp_path / "set", [narrow], Layout(**{**LAYOUT.__dict__, "action_names": ("dx",)}))
    assert pq.read_table(out / "data/chunk-000/file-000.parquet")["action"].type == "float"
    assert np.array_equal(open_source(out).episode(0).actions, narrow.actions)


def test_some_frames_of_one_view(tmp_path: Path, seven) -> None:
    back = open_source(write(tmp_path / "set", seven))
    rows = np.array([7, 0, 3])
    assert np.array_equal(back.frames(4, "wrist", rows), back.episode(4).frames["wrist"][rows])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fps": 12.0}, "12 fps, but the dataset has 10"),
        ({"frames": {}}, "view 'top' is missing"),
        ({"actions": np.zeros((12, 5), np.float32)}, r"actions have shape \(12, 5\)"),
    ],
)
def test_an_episode_that_does_not_fit(tmp_path: Path, made, change, message: str) -> None:
    episode = made(0)
    with pytest.raises(UserError, match=message):
        LeRobotWriter(tmp_path / "set", LAYOUT).add(type(episode)(**{**episode.__dict__, **change}))


def test_a_broken_rate_and_an_existing_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="need an integer frame rate"):
        LeRobotWriter(tmp_path / "set", Layout(**{**LAYOUT.__dict__, "fps": 12.5}))
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    with pytest.raises(UserError, match="already exists"):
        LeRobotWriter(tmp_path / "full", LAYOUT)


def clips_end(root: Path, seconds: float) -> None:
    """Every episode's video ends so much later, says the index."""
    index = root / "meta/episodes/chunk-000/file-000.parquet"
    table = pd.read_parquet(index)
    table["videos/observation.images.top/to_timestamp"] += seconds
    table.to_parquet(index)


def test_an_index_that_spans_fewer_frames_than_rows_is_said(tmp_path: Path, made) -> None:
    out = write(tmp_path / "set", [made(0), made(1)])
    clips_end(out, -0.1)
    found = open_source(out).findings
    assert [(f.code, f.episode) for f in found] == [
        ("frame-count", "made-0"),
        ("frame-count", "made-1"),
    ]
    assert "spans 11 frames, but the episode has 12 rows" in found[0].text


def test_an_index_that_spans_more_frames_than_rows_is_sound(tmp_path: Path, made) -> None:
    out = write(tmp_path / "set", [made(0), made(1)])
    clips_end(out, 0.1)
    assert not open_source(out).findings


def film(root: Path, *, fps: float, frames: int) -> None:
    """Put another video in the place of a dataset's first."""
    path = root / "videos/observation.images.wrist/chunk-000/file-000.mp4"
    with VideoWriter(path, fps=fps, size=(32, 32)) as writer:
        writer.append(np.full((frames, 32, 32, 3), 90, np.uint8))


def test_a_video_of_another_rate_is_refused_and_found(tmp_path: Path, made) -> None:
    out = write(tmp_path / "set", [made(0)])
    film(out, fps=8, frames=12)
    source = open_source(out)
    with pytest.raises(DataError, match=r"row 1 of episode made-0 is at 0\.1000 s"):
        source.frames(0, "wrist")
    assert ("frames-unreadable", "made-0", "wrist") in [
        (f.code, f.episode, f.field) for f in check(source)
    ]


def test_a_video_of_spare_frames_is_sound(tmp_path: Path, made) -> None:
    out = write(tmp_path / "set", [made(0)])
    film(out, fps=10, frames=13)
    assert {f.code for f in check(open_source(out))} <= {"frozen-camera"}


def test_a_video_of_too_few_frames_is_found(tmp_path: Path, made) -> None:
    out = write(tmp_path / "set", [made(0)])
    film(out, fps=10, frames=11)
    (found,) = [f for f in check(open_source(out)) if f.code == "frames-unreadable"]
    assert (found.severity, found.episode, found.field) == ("error", "made-0", "wrist")
    assert "row 11 of episode made-0 is at 1.1000 s" in found.text


def as_v21(root: Path, out: Path) -> Path:
    """The same dataset with a file per episode and jsonl tables, as LeRobot wrote before v3.0."""
    source = open_source(root)
    info = json.loads((root / "meta/info.json").read_text())
    info |= {
        "codebase_version": "v2.1",
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/"
        "episode_{episode_index:06d}.mp4",
    }
    (out / "meta").mkdir(parents=True)
    (out / "data/chunk-000").mkdir(parents=True)
    (out / "meta/info.json").write_text(json.dumps(info))
    rows = pq.read_table(root / "data/chunk-000/file-000.parquet").to_pandas()
    lines = []
    for index, episode in enumerate(source):
        name = f"episode_{index:06d}"
        rows[rows["episode_index"] == index].to_parquet(out / f"data/chunk-000/{name}.parquet")
        for view, frames in episode.frames.items():
            folder = out / f"videos/chunk-000/observation.images.{view}"
            folder.mkdir(parents=True, exist_ok=True)
            with VideoWriter(folder / f"{name}.mp4", fps=10, size=frames.shape[1:3]) as writer:
                writer.append(frames)
        lines.append({"episode_index": index, "tasks": [episode.task], "length": len(episode)})
    (out / "meta/episodes.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return out


def test_v21_gives_the_same_episodes(tmp_path: Path, seven, quality) -> None:
    newer = open_source(write(tmp_path / "new", seven))
    older = open_source(as_v21(tmp_path / "new", tmp_path / "old"))
    assert older.spec.format == "lerobot-v2.1"
    assert [head.id for head in older.heads] == [str(i) for i in range(7)]
    # One is unknown, so the frames say nothing; v2.1 has no table of episodes that would.
    assert [head.success for head in older.heads] == [None] * 7
    for one, other in zip(newer, older, strict=True):
        assert one.task == other.task
        assert np.array_equal(one.actions, other.actions)
        assert np.array_equal(one.pose, other.pose)
        assert quality(one.frames["top"], other.frames["top"]) > 38
