"""Video: what is written is read back, frame by frame, the same through both decoders."""

import os
from pathlib import Path

import av
import numpy as np
import pytest

from tests.support import marked_frames, odd_videos
from worldeval.data import pyav_video, video
from worldeval.data.finding import DataError
from worldeval.data.video import VideoJoiner, VideoWriter, probe, read_frames


def write(path: Path, frames: np.ndarray, fps: float = 10) -> Path:
    with VideoWriter(path, fps=fps, size=frames.shape[1:3]) as writer:
        writer.append(frames)
    return path


def test_frames_survive_the_round_trip(tmp_path: Path, made, quality) -> None:
    frames = made(0, length=20).frames["top"]
    path = write(tmp_path / "top.mp4", frames)
    assert quality(read_frames(path), frames) > 38


def test_frame_n_sits_at_n_over_fps_and_none_is_reordered(tmp_path: Path, made) -> None:
    path = write(tmp_path / "top.mp4", made(0, length=9).frames["top"], fps=30)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        packets = [p for p in container.demux(stream) if p.pts is not None]
        assert stream.time_base is not None
        times = [float((packet.pts or 0) * stream.time_base) for packet in packets]
        assert times == pytest.approx([n / 30 for n in range(9)], abs=1e-9)
        assert [packet.dts for packet in packets] == [packet.pts for packet in packets]
        assert [packet.is_keyframe for packet in packets] == [n % 2 == 0 for n in range(9)]
    assert path.read_bytes().index(b"moov") < path.read_bytes().index(b"mdat")  # faststart


def test_facts(tmp_path: Path, made) -> None:
    facts = probe(write(tmp_path / "top.mp4", made(0, length=9).frames["top"], fps=16))
    assert (facts.height, facts.width, facts.frames) == (48, 64, 9)
    assert (facts.fps, facts.codec, facts.pix_fmt) == (16, "h264", "yuv420p")


def test_both_decoders_give_the_same_pixels_in_any_order(tmp_path: Path, made) -> None:
    pytest.importorskip("decord")
    path = write(tmp_path / "top.mp4", made(1, length=25).frames["top"])
    rows = np.array([24, 3, 3, 0, 17, 18, 2])
    pyav = read_frames(path, rows, backend="pyav")
    assert np.array_equal(pyav, read_frames(path, rows, backend="decord"))
    assert np.array_equal(pyav, read_frames(path, backend="pyav")[rows])


@pytest.mark.parametrize("step", [1, 2, 3, 5])
def test_cuts_from_anywhere_are_those_of_the_whole(tmp_path: Path, made, step: int) -> None:
    path = write(tmp_path / "top.mp4", made(2, length=30).frames["top"])
    whole = read_frames(path, backend="pyav")
    for begin in (7, 8, 3, 0, 14, 9):  # before and after where the decoder stands
        rows = begin + step * np.arange(4)
        rows = rows[rows < 30]
        assert np.array_equal(read_frames(path, rows, backend="pyav"), whole[rows])


@pytest.mark.parametrize(("reordered", "share"), [(0, 1.0), (2, 1.0), (0, 0.6)])
def test_the_index_of_a_long_file_stands_for_reading_it(
    tmp_path: Path, made, monkeypatch: pytest.MonkeyPatch, reordered: int, share: float
) -> None:
    monkeypatch.setattr(video, "ENCODING", video.ENCODING | {"bf": str(reordered), "g": "6"})
    path = write(tmp_path / "top.mp4", made(0, length=24).frames["top"])
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])  # cut off, or not

    def seen(name: str, least: int) -> tuple[int, np.ndarray]:
        monkeypatch.setattr(pyav_video, "INDEXED", least)
        copy = tmp_path / name  # another file: what is open stays open
        copy.write_bytes(path.read_bytes())
        rows = np.array([5, 2, 4, 3])
        return probe(copy).frames, read_frames(copy, rows, backend="pyav")

    indexed, scanned = seen("indexed.mp4", 1), seen("scanned.mp4", 1000)
    assert indexed[0] == scanned[0]
    assert np.array_equal(indexed[1], scanned[1])


def test_files_are_written_to_be_decoded_quickly(tmp_path: Path, made) -> None:
    path = write(tmp_path / "top.mp4", made(0, length=9).frames["top"])
    assert b"cabac=0 " in path.read_bytes()  # x264 writes its settings into the stream


def test_both_decoders_agree_on_real_recordings(droid: Path) -> None:
    pytest.importorskip("decord")
    path = droid / "videos/train/3/1.mp4"
    rows = np.random.default_rng(0).integers(0, 80, 12)
    pyav = read_frames(path, rows, backend="pyav")
    assert np.array_equal(pyav, read_frames(path, rows, backend="decord"))
    assert np.array_equal(pyav, read_frames(path, backend="pyav")[rows])


def test_joined_files_hold_the_frames_of_their_parts(tmp_path: Path, made) -> None:
    parts = [
        write(tmp_path / f"{i}.mp4", made(i, length=n).frames["top"]) for i, n in enumerate((5, 8))
    ]
    joiner = VideoJoiner(tmp_path / "whole.mp4", fps=10)
    for part in parts:
        joiner.append(part)
    joiner.close()
    expected = np.concatenate([read_frames(part) for part in parts])
    assert np.array_equal(read_frames(tmp_path / "whole.mp4"), expected)
    assert probe(tmp_path / "whole.mp4").fps == 10


def test_no_rows_are_no_frames(tmp_path: Path, made) -> None:
    path = write(tmp_path / "top.mp4", made(0).frames["top"])
    assert read_frames(path, np.array([], int)).shape == (0, 48, 64, 3)


@pytest.mark.parametrize("row", [-1, 12])
def test_a_frame_that_is_not_there(tmp_path: Path, made, row: int) -> None:
    path = write(tmp_path / "top.mp4", made(0, length=12).frames["top"])
    with pytest.raises(DataError, match=r"top\.mp4: video: .*it has 12"):
        read_frames(path, [row])


def test_what_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "broken.mp4"
    path.write_bytes(b"nothing like a film" * 50)
    with pytest.raises(DataError, match=r"broken\.mp4: video: it is not a readable video"):
        read_frames(path)


def test_odd_sides_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="63x64 is odd"):
        VideoWriter(tmp_path / "odd.mp4", fps=10, size=(63, 64))


# A tag says how a player is to turn the pictures; the marks are read off upright pictures alone.
TURNS = [(90, False), (180, False), (270, False), (0, True), (90, True), (270, True)]


def stored(degrees: int, mirrored: bool) -> np.ndarray:
    """Pictures that are upright once turned left by `degrees`, then mirrored."""
    upright = marked_frames.clip(4, 40)
    turned = upright[:, :, ::-1] if mirrored else upright
    return np.rot90(turned, -degrees // 90, axes=(1, 2))


@pytest.mark.parametrize(("degrees", "mirrored"), TURNS)
def test_pictures_are_turned_as_a_player_turns_them(
    tmp_path: Path, degrees: int, mirrored: bool
) -> None:
    path = tmp_path / "turned.mp4"
    odd_videos.film(path, stored(degrees, mirrored), degrees=degrees, mirrored=mirrored)
    facts = probe(path)
    assert (facts.height, facts.width) == marked_frames.SIZE
    # Long and short reads, in order and not, and whichever decoder is asked for.
    for rows in (range(40), range(33), [3, 4], [39, 0, 17]):
        assert marked_frames.shown(read_frames(path, list(rows))) == list(rows)
    for rows in (range(40), [3, 4]):
        pytest.importorskip("decord")
        again = read_frames(path, list(rows), backend="decord")
        assert np.array_equal(again, read_frames(path, list(rows)))


def test_a_turn_that_is_no_quarter_is_refused(tmp_path: Path) -> None:
    path = odd_videos.film(tmp_path / "askew.mp4", marked_frames.clip(1, 3), degrees=30)
    with pytest.raises(DataError, match=r"must be rotated by (29|30) degrees"):
        read_frames(path)


@pytest.mark.parametrize("name", ["cut", "reordered", "uneven", "late"])
def test_decord_gives_the_frames_of_pyav_or_leaves_them_to_it(tmp_path: Path, name: str) -> None:
    pytest.importorskip("decord")
    path, pictures = tmp_path / "odd.mp4", marked_frames.clip(2, 30)
    if name == "cut":
        whole = odd_videos.film(tmp_path / "whole.mp4", pictures)
        odd_videos.trimmed(whole, 0.6, path)
    elif name == "reordered":
        odd_videos.film(path, pictures, options=odd_videos.REORDERED)
    else:
        times = np.arange(30) ** 1.1 / 10 if name == "uneven" else 2 + np.arange(30) / 10
        odd_videos.film(path, pictures, times=times)
    assert np.array_equal(read_frames(path, backend="decord"), read_frames(path))
    begin = 6 if name == "cut" else 0
    assert marked_frames.shown(read_frames(path)) == list(range(begin, 30))


def test_what_is_no_regular_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(DataError, match="not a regular file"):
        read_frames(tmp_path / "pipe.mp4")


@pytest.mark.parametrize("name", [b"xxxx", b"\0\0\0\0", b"avc\xff"])
def test_a_codec_that_nobody_knows_is_one_line(tmp_path: Path, name: bytes) -> None:
    path = tmp_path / "a.mp4"
    with VideoWriter(path, fps=10, size=(32, 32)) as file:
        file.append(np.zeros((5, 32, 32, 3), np.uint8))
    whole = path.read_bytes()
    at = whole.rindex(b"avc1")
    path.write_bytes(whole[:at] + name + whole[at + 4 :])
    with pytest.raises(DataError) as error:
        read_frames(path)
    assert "\n" not in str(error.value)
