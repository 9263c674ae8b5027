"""Sound datasets in layouts that tools and systems leave: all are read as what they are."""

import json
import shutil
from pathlib import Path

import pytest

from tests.support.sound_datasets import COUNT, FORMATS, make
from worldeval.data.finding import DataError
from worldeval.data.source import Source, open_source


def content(source: Source) -> list[tuple[object, ...]]:
    return [
        (e.id, e.task, e.actions.tobytes(), *(f.tobytes() for f in e.frames.values()))
        for e in source
    ]


@pytest.mark.parametrize("kind", FORMATS)
def test_what_macos_leaves_beside_files_is_no_part_of_a_dataset(kind: str, tmp_path: Path) -> None:
    root = make(kind, tmp_path / "set")
    before = open_source(root)
    expected, said = content(before), [finding.code for finding in before.findings]
    for file in [path for path in root.rglob("*") if path.is_file()]:
        file.with_name(f"._{file.name}").write_bytes(b"\x00\x05\x16\x07 of macOS")
        file.with_name(".DS_Store").write_bytes(b"\x00\x00\x00\x01Bud1")
    for folder in [path for path in root.rglob("*") if path.is_dir()]:
        folder.with_name(f"._{folder.name}").write_bytes(b"\x00\x05\x16\x07 of macOS")
    source = open_source(root)
    assert content(source) == expected
    assert [finding.code for finding in source.findings] == said


TEMPLATES = [
    ("data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
     "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"),
    ("data/{episode_index}.parquet", "videos/{video_key}-{episode_index}.mp4"),
    ("data/{chunk_index:03d}/file-{episode_index:03}.parquet",
     "videos/{image_key}/{chunk_index}/{episode_index:>4}.mp4"),
    ("data/{episode_index:0>6d}.parquet", "videos/{video_key!s}/{episode_index:x}.mp4"),
]  # fmt: skip


@pytest.mark.parametrize("version", ["v2.0", "v2.1"])
@pytest.mark.parametrize(("rows", "videos"), TEMPLATES)
def test_templates_with_other_legal_placeholders(
    rows: str, videos: str, version: str, tmp_path: Path
) -> None:
    root = make("lerobot-v2", tmp_path / "set")
    expected = content(open_source(root))
    info = json.loads((root / "meta/info.json").read_text())
    key = "observation.images.top"
    for number in range(COUNT):
        fields = {"episode_index": number, "episode_chunk": 0, "chunk_index": 0}
        old = {"data_path": info["data_path"], "video_path": info["video_path"]}
        for name, new in (("data_path", rows), ("video_path", videos)):
            before = root / old[name].format(**fields, video_key=key)
            after = tmp_path / "new" / new.format(**fields, video_key=key, image_key=key)
            after.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(before, after)
    shutil.copytree(root / "meta", tmp_path / "new/meta")
    info |= {"data_path": rows, "video_path": videos, "codebase_version": version}
    (tmp_path / "new/meta/info.json").write_text(json.dumps(info))
    assert content(open_source(tmp_path / "new")) == expected


@pytest.mark.parametrize(
    ("codec", "words"),
    [
        ("imagecodecs_jpegxl", "pip install 'imagecodecs'"),
        ("zfpy", r"pip install 'numcodecs\[zfpy\]'"),
        ("home-made", "the codec 'home-made', which numcodecs does not support"),
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_a_zarr_whose_codec_is_missing(
    codec: str, words: str, zipped: bool, tmp_path: Path
) -> None:
    root = make("zarr", tmp_path / "set")
    meta = json.loads((root / "data/img/.zarray").read_text()) | {"compressor": {"id": codec}}
    (root / "data/img/.zarray").write_text(json.dumps(meta))
    if zipped:
        shutil.make_archive(str(tmp_path / "set.zarr"), "zip", root)
    with pytest.raises(DataError, match=words):
        open_source(tmp_path / "set.zarr.zip" if zipped else root)
