# The library's stubs are narrower than what it takes and gives.
# pyright: reportOperatorIssue=false, reportOptionalOperand=false
"""One reader and one writer of video files.

Long runs of frames are read by decord where it is installed and the file is H.264, everything else
by PyAV: both give the same pixels, frame n being the n-th in order of time. Frames are written as
H.264 yuv420p with every second frame a key frame and none reordered, so that frame n sits at
n / fps exactly and any frame is at most one decode away, and coded so that decoding is quick.
"""

import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Literal

import av
import av.error
import numpy as np
from av.video.reformatter import VideoReformatter

from worldeval.axes import Array, Int, UInt8
from worldeval.data.finding import DataError

Backend = Literal["auto", "decord", "pyav"]
MAX_SIDE = 8192  # pixels; larger claims are damage, and decoding them takes all memory
OPEN_FILES = 24  # decoders kept open in one thread: an episode's views, and some neighbours
SEEK = 2  # frames before a key frame that are decoded rather than passed over
INDEXED = 1000  # frames of a file from which its index is taken at its word
LONG = 32  # frames asked for at once, from which decord is as quick as PyAV
# Random windows cost mostly decoding, and of that the arithmetic coding of H.264 (CABAC) is the
# larger half: files without it take a third of the time and 2% more space (DROID, 192x320).
ENCODING = {"crf": "18", "preset": "veryfast", "tune": "fastdecode", "bf": "0", "g": "2"}
# PyAV 17 and later share one small picture among all cores, which costs more than it saves.
ONE_THREAD = {"threads": 1} if int(av.__version__.split(".")[0]) >= 17 else {}


@dataclass(frozen=True, kw_only=True)
class VideoFacts:
    """What a video file says of itself, and how many frames it really lists."""

    height: int
    width: int
    fps: float
    frames: int
    codec: str
    pix_fmt: str


def probe(path: Path) -> VideoFacts:
    """The facts of a video file, without decoding it."""
    return _pyav(path).facts


def read_frames(
    path: Path, rows: Int[Array, " n"] | Sequence[int] | None = None, *, backend: Backend = "auto"
) -> UInt8[Array, "n h w 3"]:
    """RGB frames `rows` of a video, in the order asked for; every frame where `rows` is None.

    Raises:
        DataError: the file is no readable video, or lacks one of the frames.
    """
    facts = probe(path)
    wanted = np.arange(facts.frames) if rows is None else np.asarray(rows, np.int64)
    if len(wanted) and not (wanted.min() >= 0 and wanted.max() < facts.frames):
        raise DataError(
            path, "video", f"frame {int(wanted.max())} is asked for, and it has {facts.frames}."
        )
    return (_decord if _by_decord(facts, backend, len(wanted)) else _pyav)(path).read(wanted)


class VideoWriter:
    """An H.264 file under way: `append` frames, leave the `with` block, and it is complete."""

    def __init__(self, path: Path, *, fps: float, size: tuple[int, int]) -> None:
        """`size` is (height, width), both even because colour is stored at half resolution."""
        height, width = size
        if height % 2 or width % 2:
            raise DataError(
                path,
                "size",
                f"{height}x{width} is odd; H.264 yuv420p needs even sides.",
                "Crop or pad the frames by one pixel.",
            )
        self._size = size
        rate = Fraction(fps).limit_denominator(1001)
        self._container = av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"})
        self._stream = self._container.add_stream("libx264", rate=rate, options=ENCODING)
        self._stream.width, self._stream.height = width, height
        self._stream.pix_fmt = "yuv420p"
        self._stream.time_base = self._stream.codec_context.time_base = 1 / rate
        self._written = 0

    def append(self, frames: UInt8[Array, "n h w 3"]) -> None:
        """Encode frames after those already there."""
        if frames.shape[1:3] != self._size:
            raise ValueError(f"frames are {frames.shape[1:3]}, the file is {self._size}")
        for image in frames:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts, frame.time_base = self._written, self._stream.codec_context.time_base
            self._container.mux(self._stream.encode(frame))
            self._written += 1

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if kind is None:
            self._container.mux(self._stream.encode(None))
        self._container.close()


class VideoJoiner:
    """One long file from many that `VideoWriter` wrote: packets are copied, not encoded anew."""

    def __init__(self, path: Path, *, fps: float) -> None:
        self._container = av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"})
        self._tick = 1 / Fraction(fps).limit_denominator(1001)
        self._stream = None
        self.frames = 0

    def append(self, path: Path) -> None:
        """Put the frames of `path` after those already there."""
        with av.open(str(path)) as part:
            source = part.streams.video[0]
            if self._stream is None:
                self._stream = self._container.add_stream_from_template(source)
                self._stream.time_base = self._tick
            for packet in part.demux(source):
                if packet.size == 0:
                    continue  # the flush packet at the end
                packet.stream, packet.time_base = self._stream, self._tick
                packet.pts = packet.dts = self.frames
                packet.duration = 1
                self._container.mux(packet)
                self.frames += 1

    def close(self) -> None:
        """Complete the file."""
        self._container.close()


class _PyavFile:
    """An open file with the time of each of its frames, which makes frame numbers exact."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._container = av.open(str(path))
            self._stream = self._container.streams.video[0]
            # One thread: handing over costs more than it saves where a few frames follow a seek.
            self._stream.codec_context.thread_count = 1
            times = self._indexed() or [
                (packet.pts, packet.is_keyframe)
                for packet in self._container.demux(self._stream)
                if packet.pts is not None
            ]
        except (av.error.FFmpegError, IndexError, OSError) as error:
            raise DataError(path, "video", f"it is not a readable video ({error}).") from error
        self._decoded: Iterator[av.VideoFrame] | None = None
        self._at = 0  # the frame decoded last
        self._converter = VideoReformatter()  # keeps its tables from frame to frame
        times.sort()
        self._times = np.array([time for time, _ in times], np.int64)
        self._keys = np.flatnonzero([key for _, key in times])  # frames that need no other
        if not len(self._times) or not len(self._keys):
            raise DataError(path, "video", "it holds no frame.")
        context = self._stream.codec_context
        if not (0 < context.height <= MAX_SIDE and 0 < context.width <= MAX_SIDE):
            raise DataError(
                path, "video", f"its size {context.height}x{context.width} is not believable."
            )

    @cached_property
    def facts(self) -> VideoFacts:
        context = self._stream.codec_context
        return VideoFacts(
            height=context.height,
            width=context.width,
            fps=float(self._stream.average_rate or 0),
            frames=len(self._times),
            codec=context.name,
            pix_fmt=context.pix_fmt or "unknown",
        )

    def _indexed(self) -> list[tuple[int, bool]] | None:
        """Time of every frame and whether it is a key frame, of a long file without reading it.

        None where its index does not tell: it is short, not whole, or frames are stored in another
        order than they are shown in. PyAV gives the index from version 17 on.
        """
        entries = getattr(self._stream, "index_entries", ())
        if len(entries) < INDEXED or self._stream.codec_context.has_b_frames:
            return None
        size, times = self.path.stat().st_size, []
        for entry in entries:
            if entry.is_discard or entry.pos + entry.size > size:
                return None
            times.append((entry.timestamp, entry.is_keyframe))
        first = next(self._container.demux(self._stream))
        self._container.seek(times[0][0], stream=self._stream)
        return times if first.pts == times[0][0] else None

    def read(self, rows: Int[Array, " n"]) -> UInt8[Array, "n h w 3"]:
        wanted, where = np.unique(rows, return_inverse=True)
        out = np.empty((len(wanted), self.facts.height, self.facts.width, 3), np.uint8)
        for order, row in enumerate(wanted):
            time = self._times[row]
            key = self._keys[np.searchsorted(self._keys, row, side="right") - 1]
            try:
                # Go on decoding where we are, unless that is longer than from a key frame: seeking
                # costs about as much as a frame.
                if self._decoded is None or not key - SEEK <= self._at < row:
                    self._container.seek(int(self._times[key]), stream=self._stream)
                    self._decoded = self._container.decode(self._stream)
                frame = next((f for f in self._decoded if (f.pts or 0) >= time), None)
                if frame is None or frame.pts != time:
                    self._decoded = None
                    raise DataError(self.path, "video", f"frame {row} is missing from the data.")
                self._at = row
                converted = self._converter.reformat(frame, format="rgb24", **ONE_THREAD)
                image = converted.to_ndarray()
            except av.error.FFmpegError as error:
                self._decoded = None
                raise DataError(
                    self.path, "video", f"frame {row} cannot be decoded ({error})."
                ) from error
            if image.shape != out.shape[1:]:
                raise DataError(self.path, "video", f"frame {row} changes size to {image.shape}.")
            out[order] = image
        return out if np.array_equal(wanted, rows) else out[where]


class _DecordFile:
    """The same through decord."""

    def __init__(self, path: Path) -> None:
        import decord

        self._path = path
        self._errors = (decord.DECORDError, RuntimeError, IndexError)
        try:
            self._reader = decord.VideoReader(str(path), num_threads=1)
        except self._errors:
            self._reader = None

    def read(self, rows: Int[Array, " n"]) -> UInt8[Array, "n h w 3"]:
        if self._reader is not None and len(rows):
            try:
                return self._reader.get_batch(rows.tolist()).asnumpy()
            except self._errors:
                self._reader = None
        # PyAV reads what decord gives up on, or says what is wrong with the file.
        return _pyav(self._path).read(rows)


def _by_decord(facts: VideoFacts, asked: Backend, frames: int) -> bool:
    if asked != "auto":
        return asked == "decord"
    # decord carries an ffmpeg of its own that knows no AV1, which many LeRobot datasets use; and
    # for cuts of a few frames it takes two to three times the processor time of PyAV.
    return frames >= LONG and facts.codec == "h264" and _has_decord()


@lru_cache(maxsize=1)
def _has_decord() -> bool:
    return find_spec("decord") is not None


def _pyav(path: Path) -> _PyavFile:
    return _open_pyav(path, *_identity(path))


def _decord(path: Path) -> _DecordFile:
    return _open_decord(path, *_identity(path))


@lru_cache(maxsize=OPEN_FILES)
def _open_pyav(path: Path, *_identity: int) -> _PyavFile:
    return _PyavFile(path)


@lru_cache(maxsize=OPEN_FILES)
def _open_decord(path: Path, *_identity: int) -> _DecordFile:
    return _DecordFile(path)


def _identity(path: Path) -> tuple[int, ...]:
    """A changed file is another file; a decoder belongs to the process and thread it is in."""
    try:
        state = path.stat()
    except OSError as error:
        raise DataError(path, "video", "the file does not exist or cannot be read.") from error
    return state.st_mtime_ns, state.st_size, os.getpid(), threading.get_ident()
