# The library's stubs are narrower than what it takes and gives.
# pyright: reportOperatorIssue=false, reportOptionalOperand=false
"""Reading and writing of video files.

PyAV reads. It is quicker than decord for windows, blocks and whole files alike; torchcodec gains up
to a third on long reads and loses more on windows of our files, and needs FFmpeg on the system
(benchmarks/decoders.py). decord is there to be asked for by name.
Frame n is the n-th that a player shows: in order of time, turned as the file says, without the
frames that its edit list cuts off. Frames are written as H.264 yuv420p with every second frame a
key frame and none reordered, so that frame n sits at n / fps exactly and any frame is at most one
decode away, and coded so that decoding is quick.
"""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Literal

import av
import numpy as np

from worldeval.axes import Array, Float, Int, UInt8
from worldeval.data.finding import DataError
from worldeval.data.pyav_video import VideoFacts, open_video
from worldeval.written import check_video

Backend = Literal["pyav", "decord"]
# Random windows cost mostly decoding, and of that the arithmetic coding of H.264 (CABAC) is the
# larger half: files without it take a third of the time and 2% more space (DROID, 192x320).
ENCODING = {"crf": "18", "preset": "veryfast", "tune": "fastdecode", "bf": "0", "g": "2"}
VIEWED = {**ENCODING, "crf": "20", "preset": "ultrafast"}  # for films that are encoded to be seen
SMALL = {"crf": "27", "preset": "medium", "bf": "0", "g": "60"}  # for films that are sent


def probe(path: Path) -> VideoFacts:
    """Read the facts of a video file without decoding it."""
    return open_video(path).facts


def frame_times(path: Path) -> Float[Array, " n"]:
    """Return the times at which frames are shown, in seconds of the file's clock, ascending."""
    return open_video(path).seconds


def read_frames(
    path: Path, rows: Int[Array, " n"] | Sequence[int] | None = None, *, backend: Backend = "pyav"
) -> UInt8[Array, "n h w 3"]:
    """Read the RGB frames `rows` of a video in the given order; all frames if `rows` is None.

    Raises:
        DataError: the file is not a readable video, or lacks one of the frames.
    """
    file = open_video(path)
    facts = file.facts
    wanted = np.arange(facts.frames) if rows is None else np.asarray(rows, np.int64)
    if len(wanted) and not (wanted.min() >= 0 and wanted.max() < facts.frames):
        raise DataError(
            path,
            "video",
            f"frame {int(wanted.max())} does not exist; it has {facts.frames} frames.",
        )
    if backend == "decord":
        from worldeval.data.decord_video import open_decord  # an optional dependency

        return open_decord(path).read(wanted)
    return file.read(wanted)


class VideoWriter:
    """Writer of an H.264 file: `append` frames in a `with` block; leaving it completes the file."""

    def __init__(
        self,
        path: Path,
        *,
        fps: float,
        size: tuple[int, int],
        options: dict[str, str] | None = None,
    ) -> None:
        """`size` is (height, width), both even because colour is stored at half resolution.

        `options` of the encoder replace `ENCODING`.
        """
        height, width = size
        if height % 2 or width % 2:
            raise DataError(
                path,
                "size",
                f"the size {height}x{width} is odd; H.264 yuv420p needs an even height and width.",
                "Crop or pad the frames by one pixel.",
            )
        self._size, self._path = size, path
        rate = Fraction(fps).limit_denominator(1001)
        self._container = av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"})
        self._stream = self._container.add_stream("libx264", rate=rate, options=options or ENCODING)
        self._stream.width, self._stream.height = width, height
        self._stream.pix_fmt = "yuv420p"
        self._stream.time_base = self._stream.codec_context.time_base = 1 / rate
        self._written = 0

    def append(self, frames: UInt8[Array, "n h w 3"]) -> None:
        """Encode frames after those already there."""
        if frames.shape[1:3] != self._size:
            raise ValueError(f"frames are {frames.shape[1:3]}, but the file has {self._size}")
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
        if kind is None:
            check_video(self._path, self._written)


class VideoJoiner:
    """Joins files written by `VideoWriter` into one, copying packets without encoding again."""

    def __init__(self, path: Path, *, fps: float) -> None:
        self._path = path
        self._container = av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"})
        self._tick = 1 / Fraction(fps).limit_denominator(1001)
        self._stream = None
        self.frames = 0

    def append(self, path: Path) -> None:
        """Append the frames of `path`."""
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
        """Complete the file. Raises UserError if the file is incomplete on disk."""
        self._container.close()
        check_video(self._path, self.frames)
