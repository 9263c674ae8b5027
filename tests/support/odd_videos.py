# The library's stubs are narrower than what it takes and gives.
# pyright: reportOptionalOperand=false, reportOperatorIssue=false, reportArgumentType=false, reportAttributeAccessIssue=false
"""Videos as recorders and editors leave them: uneven times, edit lists, rotation tags, B-frames."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

TICK = Fraction(1, 9000)
# No frame stored out of order, and a key frame now and then.
PLAIN = {"crf": "18", "preset": "veryfast", "bf": "0", "g": "4"}
REORDERED = {"crf": "18", "preset": "veryfast", "bf": "3", "g": "12"}


def film(
    path: Path,
    pictures: np.ndarray,
    *,
    fps: float = 10.0,
    times: Sequence[float] | np.ndarray | None = None,
    options: dict[str, str] = PLAIN,
    degrees: int = 0,
    mirrored: bool = False,
) -> Path:
    """Write pictures that are shown at `times` (seconds; n / fps where none are given).

    `degrees` is the turn to the left by which a player is to show them, `mirrored` the mirroring
    after it: both are tags, the pictures are stored as given.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    shown = np.arange(len(pictures)) / fps if times is None else np.asarray(times, float)
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=round(fps), options=options)
        stream.height, stream.width = pictures.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = TICK
        if degrees or mirrored:
            stream.set_display_rotation(degrees, hflip=mirrored)
        for picture, time in zip(pictures, shown, strict=True):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts, frame.time_base = round(time / TICK), TICK
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def trimmed(path: Path, begin: float, out: Path) -> Path:
    """The same video from `begin` seconds on, cut by an edit list: no picture is encoded anew.

    Frames from the key frame before `begin` are in the file, and no player shows them.
    """
    with av.open(str(path)) as source, av.open(str(out), "w", format="mp4") as container:
        stream = source.streams.video[0]
        packets = [packet for packet in source.demux(stream) if packet.pts is not None]
        cut = round(begin / stream.time_base)
        key = max(p.pts for p in packets if p.is_keyframe and p.pts <= cut)
        kept = container.add_stream_from_template(stream)
        for packet in packets[next(i for i, p in enumerate(packets) if p.pts == key) :]:
            packet.stream = kept
            packet.pts, packet.dts = packet.pts - cut, packet.dts - cut
            container.mux(packet)
    return out
