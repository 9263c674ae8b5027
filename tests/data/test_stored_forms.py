# h5py types every item as a group, a dataset or a datatype.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportOptionalMemberAccess=false
"""The form in which a value is stored does not change what it means."""

import io
import json
import shutil
from pathlib import Path

import av
import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.support.sound_datasets import LENGTH, SHAPE, episode, make
from worldeval.data.convert import convert
from worldeval.data.data_map import DataMap
from worldeval.data.finding import DataError
from worldeval.data.formats.lerobot.layout import Layout
from worldeval.data.formats.lerobot.write import LeRobotWriter
from worldeval.data.names import views_of
from worldeval.data.source import Head, Rows, open_source
from worldeval.data.truth import truth


@pytest.mark.parametrize(
    ("stored", "meant"),
    [
        (True, True), (np.bool_(False), False), (1, True), (0.0, False), (np.float32(1), True),
        ("True", True), ("False", False), (" yes ", True), (b"no", False), ("0", False),
        ([False], False), (np.array([True]), True), (np.array([[0]]), False),
        (None, None), (float("nan"), None), ("", None), ("NaN", None), (-1, None),
    ],
)  # fmt: skip
def test_yes_and_no_in_every_form(stored, meant) -> None:
    assert truth(stored, unknown=-1) is meant


@pytest.mark.parametrize("stored", [2, 0.5, "maybe", [True, False], [], -1, {"a": 1}])
def test_what_is_neither_is_refused(stored) -> None:
    with pytest.raises(ValueError, match=r"neither true nor false|expected one"):
        truth(stored)


def lerobot(path: Path, column: pa.Array) -> Path:
    """Three episodes of five frames, with `next.success` in another form."""
    make("lerobot-v3", path)
    file = path / "data/chunk-000/file-000.parquet"
    table = pq.read_table(file)
    place = table.column_names.index("next.success")
    pq.write_table(table.set_column(place, "next.success", column), file)
    listed = path / "meta/episodes/chunk-000/file-000.parquet"
    pq.write_table(pq.read_table(listed).drop_columns(["worldeval/success"]), listed)
    return path


LAST = [[0, 0, 0, 0, 0], [0, 0, 0, 0, 1], [0, 0, 0, 0, 0]]  # episode 1 succeeds at its end
FLAT = [bool(flag) for own in LAST for flag in own]


@pytest.mark.parametrize(
    ("column", "success"),
    [
        (pa.array([[flag] for flag in FLAT]), [False, True, False]),
        (pa.array([str(flag) for flag in FLAT]), [False, True, False]),
        (pa.array([int(flag) for flag in FLAT]), [False, True, False]),
        (pa.array([float("nan")] * 5 + [0.0] * 4 + [1.0] + [None] * 5), [None, True, None]),
    ],
    ids=["lists of one", "text", "numbers", "NaN and null"],
)
def test_next_success_in_every_form(tmp_path: Path, column: pa.Array, success) -> None:
    source = open_source(lerobot(tmp_path / "set", column))
    assert [head.success for head in source.heads] == success
    flags = source.rows(1).flags
    assert flags is not None and flags.tolist() == LAST[1]
    assert (source.rows(0).flags is None) == (success[0] is None)


def test_a_success_that_is_no_truth_skips_its_episode(tmp_path: Path) -> None:
    source = open_source(lerobot(tmp_path / "set", pa.array([0] * 5 + [7] * 5 + [0] * 5)))
    assert len(source) == 2
    assert any("neither true nor false" in finding.text for finding in source.findings)


@pytest.mark.parametrize("to", ["lerobot", "robomimic", "shards"])
def test_unknown_success_is_not_written_as_failure(tmp_path: Path, to: str) -> None:
    source = open_source(lerobot(tmp_path / "set", pa.array([None] * 15, pa.float64())))
    out = tmp_path / ("out.hdf5" if to == "robomimic" else "out")
    convert(source, out, to=to)
    back = open_source(out)
    assert [head.success for head in back.heads] == [None] * 3
    assert all(back.rows(index).flags is None for index in range(3))
    if to == "lerobot":
        assert "next.success" not in json.loads((out / "meta/info.json").read_text())["features"]
    if to == "robomimic":
        with h5py.File(out) as file:
            assert np.isnan(file["data/demo_0/rewards"][:]).all()


@pytest.mark.parametrize("to", ["lerobot", "robomimic", "shards"])
def test_success_of_every_frame_is_kept(tmp_path: Path, to: str) -> None:
    flags = [0, 0, 1, 1, 0, *[0] * 5, 0, 1, 0, 0, 0]
    source = open_source(lerobot(tmp_path / "set", pa.array([bool(flag) for flag in flags])))
    out = tmp_path / ("out.hdf5" if to == "robomimic" else "out")
    convert(source, out, to=to)
    back = open_source(out)
    kept = [flag for index in range(3) for flag in back.rows(index).flags.tolist()]
    assert kept == flags
    assert [head.success for head in back.heads] == [True, False, True]


@pytest.mark.parametrize(
    "table",
    [
        pd.DataFrame({"task_index": [0, 1, 2], "task": ["task 0", "task 1", "task 2"]}),
        pd.DataFrame({"task_index": [2, 0, 1], "words": ["task 2", "task 0", "task 1"]}),
        pd.DataFrame({"task_index": [0, 1, 2]}, index=["task 0", "task 1", "task 2"]),
    ],
    ids=["RangeIndex and a column", "another name and order", "as LeRobot writes it"],
)
def test_texts_of_tasks_wherever_they_stand(tmp_path: Path, table: pd.DataFrame) -> None:
    path = without_task_names(make("lerobot-v3", tmp_path / "set"))
    table.to_parquet(path / "meta/tasks.parquet")
    assert [head.task for head in open_source(path).heads] == ["task 0", "task 1", "task 2"]


def test_tasks_without_text_are_refused(tmp_path: Path) -> None:
    path = without_task_names(make("lerobot-v3", tmp_path / "set"))
    pd.DataFrame({"task_index": [0, 1, 2]}).to_parquet(path / "meta/tasks.parquet")
    with pytest.raises(DataError, match="its index does not contain the task texts"):
        open_source(path)


def without_task_names(path: Path) -> Path:
    """The episodes table without the texts, so that the table of tasks is looked at."""
    listed = path / "meta/episodes/chunk-000/file-000.parquet"
    pq.write_table(pq.read_table(listed).drop_columns(["tasks"]), listed)
    return path


@pytest.mark.parametrize(
    ("short", "views"),
    [
        ({"a.top": "top", "b.side": "side"}, {"top": "a.top", "side": "b.side"}),
        ({"a.top": "top", "b.top": "top"}, {"a.top": "a.top", "b.top": "b.top"}),
        ({"top": "top", "top_image": "top"}, {"top": "top", "top_image": "top_image"}),
        ({"x": "a", "y": "a", "z": "x"}, {"x": "x", "y": "y", "z": "z"}),
    ],
)
def test_no_view_hides_another(short, views) -> None:
    assert views_of(short) == views


def test_two_lerobot_features_of_one_short_name_are_two_views(tmp_path: Path) -> None:
    path = make("lerobot-v3", tmp_path / "set")
    where = path / "meta/info.json"
    info = json.loads(where.read_text())
    info["features"]["observation.top"] = info["features"]["observation.images.top"]
    where.write_text(json.dumps(info))
    listed = path / "meta/episodes/chunk-000/file-000.parquet"
    table = pq.read_table(listed)
    for name in list(table.column_names):
        if name.startswith("videos/observation.images.top"):
            table = table.append_column(name.replace(".images.top", ".top"), table[name])
    pq.write_table(table, listed)
    shutil.copytree(path / "videos/observation.images.top", path / "videos/observation.top")
    assert list(open_source(path).spec.views) == ["observation.images.top", "observation.top"]


def test_two_robomimic_cameras_of_one_short_name_are_two_views(tmp_path: Path) -> None:
    with h5py.File(make("robomimic", tmp_path / "set") / "set.hdf5", "r+") as file:
        for demo in file["data"].values():
            demo["obs/top"] = 255 - demo["obs/top_image"][:]
    source = open_source(tmp_path / "set")
    assert list(source.spec.views) == ["top", "top_image"]
    assert (source.frames(0, "top") == 255 - source.frames(0, "top_image")).all()


def two_tasks(path: Path) -> Path:
    made = episode(1)
    rows = Rows(actions=made.actions, pose=made.pose, task=np.array([0, 0, 1, 1, 1]))
    head = Head(id="e1", length=LENGTH, task="reach", success=True, tasks=("reach", "grasp"))
    with LeRobotWriter(path, Layout(**vars(SHAPE))) as writer:
        writer.add_parts(head, rows, {"top": [made.frames["top"]]}, place=0)
        writer.add(episode(0))
    return path


def test_a_second_task_is_kept_with_its_frames_and_said(tmp_path: Path) -> None:
    source = open_source(two_tasks(tmp_path / "set"))
    assert source.heads[0].tasks == ("reach", "grasp") and source.heads[0].task == "reach"
    assert source.rows(0).task.tolist() == [0, 0, 1, 1, 1]
    assert source.heads[1].tasks == () and source.rows(1).task is None
    (finding,) = [one for one in source.findings if one.code == "several-tasks"]
    assert "reach; grasp" in finding.text
    convert(source, tmp_path / "again", to="lerobot")
    again = open_source(tmp_path / "again")
    assert again.heads[0].tasks == ("reach", "grasp")
    assert again.rows(0).task.tolist() == [0, 0, 1, 1, 1]
    rows = pq.read_table(tmp_path / "again/data/chunk-000/file-000.parquet")
    assert rows["task_index"].to_pylist() == [0, 0, 1, 1, 1, *[2] * 5]


def test_depth_of_lerobot_by_its_flag_its_bits_and_its_pixel_format(tmp_path: Path) -> None:
    path = make("lerobot-v3", tmp_path / "set")
    where = path / "meta/info.json"
    info = json.loads(where.read_text())
    depth = {**info["features"]["observation.images.top"]}
    depth["info"] = {**depth["info"], "video.is_depth_map": True}
    info["features"]["observation.images.depth"] = depth
    where.write_text(json.dumps(info))
    source = open_source(path)  # it has no file: nothing is looked for
    assert list(source.spec.views) == ["top"]
    assert [one.field for one in source.findings if one.code == "depth-left-out"] == [
        "observation.images.depth"
    ]
    with pytest.raises(DataError, match="depth in a video cannot be shown"):
        open_source(path, given=DataMap(depth={"observation.images.depth": (0, 1)}))


def test_a_video_of_twelve_grey_bits_is_depth_though_no_flag_says_so(tmp_path: Path) -> None:
    path = make("lerobot-v3", tmp_path / "set")
    second_camera(path, "video")
    file = path / "videos/observation.images.far/chunk-000/file-000.mp4"
    file.parent.mkdir(parents=True)
    with av.open(str(file), "w", format="matroska") as container:
        stream = container.add_stream("ffv1", rate=5)
        stream.width, stream.height, stream.pix_fmt = 32, 16, "gray12le"
        for t in range(15):
            grey = np.full((16, 32), 100 * t, np.uint16)
            frame = av.VideoFrame.from_ndarray(grey, format="gray16le").reformat(format="gray12le")
            frame.pts = t
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    source = open_source(path)
    assert list(source.spec.views) == ["top"]
    assert "depth-left-out" in [finding.code for finding in source.findings]


def test_pictures_of_sixteen_bits_are_depth_though_no_flag_says_so(tmp_path: Path) -> None:
    path = make("lerobot-v3", tmp_path / "set")
    second_camera(path, "image")
    cells = []
    for t in range(15):
        stream = io.BytesIO()
        Image.fromarray(np.full((16, 32), 400 + 100 * t, np.uint16)).save(stream, "png")
        cells.append({"bytes": stream.getvalue(), "path": f"{t}.png"})
    file = path / "data/chunk-000/file-000.parquet"
    table = pq.read_table(file).append_column("observation.images.far", pa.array(cells))
    pq.write_table(table, file)
    source = open_source(path)
    assert list(source.spec.views) == ["top"]
    (finding,) = [one for one in source.findings if one.code == "depth-left-out"]
    assert "NEAR, FAR" in finding.text
    given = DataMap(depth={"observation.images.far": (400, 1400)})
    shown = open_source(path, given=given).frames(1, "far")  # frames 5 to 9 of the file
    assert shown[:, 0, 0, 0].tolist() == [128, 153, 178, 204, 230]


def second_camera(path: Path, dtype: str) -> None:
    """Describe one more view, `far`, in the dataset's own words."""
    where = path / "meta/info.json"
    info = json.loads(where.read_text())
    feature = {**info["features"]["observation.images.top"], "dtype": dtype}
    info["features"]["observation.images.far"] = feature
    where.write_text(json.dumps(info))
    listed = path / "meta/episodes/chunk-000/file-000.parquet"
    table = pq.read_table(listed)
    for name in list(table.column_names):
        if name.startswith("videos/observation.images.top"):
            table = table.append_column(name.replace("images.top", "images.far"), table[name])
    pq.write_table(table, listed)
