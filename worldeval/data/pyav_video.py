# The library's stubs are narrower than what it accepts and returns.
# pyright: reportOperatorIssue=false, reportOptionalOperand=false
"""Reading of video files with PyAV: frame n is the n-th frame that a player shows.

Frames are in order of time, rotated as the file specifies, without those that its edit list
removes.
"""

import os
import stat
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import NamedTuple

import av
import av.error
import numpy as np
from av.video.reformatter import VideoReformatter

from worldeval.axes import Array, Float, Int, UInt8
from worldeval.data.finding import DataError

MAX_SIDE = 8192  # pixels; larger sizes mean damage, and decoding would exhaust the memory
OPEN_FILES = 24  # decoders kept open per thread: an episode's views, and some neighbours
SEEK = 2  # frames before a key frame that are decoded rather than skipped
INDEXED = 1000  # minimum frames of a file whose index is trusted
UPRIGHT = ((1, 0), (0, 1))
Turn = tuple[tuple[int, int], tuple[int, int]]  # of an image, as a matrix on (x, y)
# PyAV 17 and later split even a small image across all cores, which costs more than it saves.
ONE_THREAD = {"threads": 1} if int(av.__version__.split(".")[0]) >= 17 else {}


@dataclass(frozen=True, kw_only=True)
class VideoFacts:
    """Metadata of a video file, and its actual number of listed frames."""

    height: int
    width: int
    fps: float
    frames: int
    codec: str
    pix_fmt: str


def open_video(path: Path) -> "PyavFile":
    """Open a file once per thread, and keep it open while it is among the most recently used."""
    return _opened(path, *identity(path))


class PyavFile:
    """An open video file with the time of every frame, which makes frame numbers exact."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._decoded: Iterator[av.VideoFrame] | None = None
        self._at = 0  # the most recently decoded frame
        self._converter = VideoReformatter()  # reuses its tables between frames
        try:
            self._container = av.open(str(path))
            self._stream = self._container.streams.video[0]
            context = self._stream.codec_context
            if context is None:  # the header names no existing codec
                raise DataError(path, "video", "its codec is not supported.")
            # One thread: with few frames after a seek, synchronisation costs more than it saves.
            context.thread_count = 1
            if not (0 < context.height <= MAX_SIDE and 0 < context.width <= MAX_SIDE):
                raise DataError(
                    path,
                    "video",
                    f"its frame size {context.height}x{context.width} is implausible.",
                )
            packets = self._indexed() or [
                _Packet(packet.pts, packet.is_keyframe, packet.is_discard)
                for packet in self._container.demux(self._stream)
                if packet.pts is not None
            ]
            packets.sort()
            self._keys = np.array([p.time for p in packets if p.key], np.int64)  # stand alone
            # Decoders must begin at a key frame, and drop what an edit list removes.
            begin = self._keys[0] if len(self._keys) else 0
            shown = [p.time for p in packets if not p.discarded and p.time >= begin]
            self._times = np.array(shown, np.int64)
            if not len(self._times) or not len(self._keys):
                raise DataError(path, "video", "it contains no frames.")
            self._turn = self._turned()
        except (av.error.FFmpegError, IndexError, OSError) as error:
            raise DataError(path, "video", f"it is not a readable video ({error}).") from error

    @cached_property
    def seconds(self) -> Float[Array, " n"]:
        return self._times * float(self._stream.time_base or 1)

    @cached_property
    def facts(self) -> VideoFacts:
        context = self._stream.codec_context
        lying = self._turn[0][0] == 0
        return VideoFacts(
            height=context.width if lying else context.height,
            width=context.height if lying else context.width,
            fps=float(self._stream.average_rate or 0),
            frames=len(self._times),
            codec=context.name,
            pix_fmt=context.pix_fmt or "unknown",
        )

    @property
    def upright(self) -> bool:
        return self._turn == UPRIGHT

    def _turned(self) -> Turn:
        """How to rotate or mirror images, which only a decoded frame reveals."""
        self._container.seek(int(self._keys[0]), stream=self._stream)
        frame = next(self._container.decode(self._stream), None)
        side = None if frame is None else frame.side_data.get("DISPLAYMATRIX")
        if frame is None or side is None:
            return UPRIGHT
        a, b, _, c, d, *_ = (np.frombuffer(bytes(side), np.int32) / (1 << 16)).round(3).tolist()
        if sorted(map(abs, (a, b, c, d))) != [0, 0, 1, 1] or abs(a) != abs(d):
            raise DataError(
                self.path, "video", f"its frames must be rotated by {frame.rotation} degrees, "
                "but only multiples of 90 are supported.", "Encode the video again, upright.",
            )  # fmt: skip
        return (int(a), int(b)), (int(c), int(d))

    def _indexed(self) -> "list[_Packet] | None":
        """List the time and key-frame flag of every frame of a long file without reading it.

        None if the index cannot be used: it is short or incomplete, or frames are stored in a
        different order than they are shown. PyAV provides the index from version 17 on.
        """
        entries = getattr(self._stream, "index_entries", ())
        if len(entries) < INDEXED or self._stream.codec_context.has_b_frames:
            return None
        size, times = self.path.stat().st_size, []
        for entry in entries:
            if entry.is_discard or entry.pos + entry.size > size:
                return None
            times.append(_Packet(entry.timestamp, entry.is_keyframe, False))
        first = next(self._container.demux(self._stream))
        self._container.seek(times[0].time, stream=self._stream)
        return times if first.pts == times[0].time else None

    def read(self, rows: Int[Array, " n"]) -> UInt8[Array, "n h w 3"]:
        wanted, where = np.unique(rows, return_inverse=True)
        out = np.empty((len(wanted), self.facts.height, self.facts.width, 3), np.uint8)
        for order, row in enumerate(wanted.tolist()):
            try:
                frame = self._frame(row)
                converted = self._converter.reformat(frame, format="rgb24", **ONE_THREAD)
                image = _turned(converted.to_ndarray(), self._turn)
            except av.error.FFmpegError as error:
                self._decoded = None
                raise DataError(
                    self.path, "video", f"frame {row} cannot be decoded ({error})."
                ) from error
            if image.shape != out.shape[1:]:
                raise DataError(
                    self.path, "video", f"the image size changes to {image.shape} at frame {row}."
                )
            out[order] = image
        return out if np.array_equal(wanted, rows) else out[where]

    def _frame(self, row: int) -> av.VideoFrame:
        """Continue decoding from the current frame, unless starting at a key frame is shorter."""
        time = int(self._times[row])
        place = int(np.searchsorted(self._keys, time, side="right")) - 1
        # A seek costs about as much as decoding a frame.
        near = np.searchsorted(self._times, self._keys[place]) - SEEK
        if self._decoded is not None and near <= self._at < row:
            return self._decode_to(time, row)
        for key in (place, max(place - 1, 0), 0):
            self._container.seek(int(self._keys[key]), stream=self._stream)
            self._decoded = self._container.decode(self._stream)
            frame = next((f for f in self._decoded if f.pts is not None), None)
            # If frames are reordered, a seek may end at the next key frame, past the wanted frame.
            if frame is None or frame.pts is None or frame.pts > time:
                continue
            if frame.pts < time:
                return self._decode_to(time, row)
            self._at = row
            return frame
        self._decoded = None
        raise DataError(self.path, "video", f"frame {row} is missing from the data.")

    def _decode_to(self, time: int, row: int) -> av.VideoFrame:
        assert self._decoded is not None
        frame = next((f for f in self._decoded if f.pts is not None and f.pts >= time), None)
        if frame is None or frame.pts != time:
            self._decoded = None
            raise DataError(self.path, "video", f"frame {row} is missing from the data.")
        self._at = row
        return frame


class _Packet(NamedTuple):
    time: int  # presentation time, in ticks of the stream
    key: bool
    discarded: bool


def _turned(image: UInt8[Array, "h w 3"], turn: Turn) -> UInt8[Array, "_ _ 3"]:
    """Transform an image as a player does: x' = a x + c y, y' = b x + d y (ISO/IEC 14496-12)."""
    if turn == UPRIGHT:
        return image
    (a, b), (c, d) = turn
    if a == 0:
        image, a, d = image.transpose(1, 0, 2), c, b
    return image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]


@lru_cache(maxsize=OPEN_FILES)
def _opened(path: Path, *_identity: int) -> PyavFile:
    return PyavFile(path)


def identity(path: Path) -> tuple[int, ...]:
    """Cache key of a decoder, which changes with the file, the process and the thread."""
    try:
        state = path.stat()
    except OSError as error:
        raise DataError(path, "video", "the file does not exist or cannot be read.") from error
    if not stat.S_ISREG(state.st_mode):
        raise DataError(path, "video", "it is not a regular file.")
    return state.st_mtime_ns, state.st_size, os.getpid(), threading.get_ident()
