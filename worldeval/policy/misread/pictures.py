"""Misread pictures: channel order, cameras, orientation, cropping, padding, size, value range."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations

import numpy as np
from PIL import Image

from worldeval.axes import Array, Float32, UInt8
from worldeval.policy.misread.misreading import Misreading, See, Untried
from worldeval.policy.pictures import PictureForm
from worldeval.record import Observation

Picture = UInt8[Array, "n h w 3"]
OtherSize = UInt8[Array, "n y x 3"]
KEPT = 7 / 8  # side of a centre crop: 84 of 96 pixels, or 224 of 256
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, pictures in [0, 1]


def bgr(frames: Picture) -> Picture:
    """Swap red and blue; its own inverse."""
    return np.ascontiguousarray(frames[..., ::-1])


def rotated(frames: Picture) -> Picture:
    """Turn by 180 degrees; its own inverse."""
    return np.ascontiguousarray(frames[:, ::-1, ::-1])


def upside_down(frames: Picture) -> Picture:
    """Flip top and bottom, as a renderer's buffer is stored; its own inverse."""
    return np.ascontiguousarray(frames[:, ::-1])


def mirrored(frames: Picture) -> Picture:
    """Flip left and right; its own inverse."""
    return np.ascontiguousarray(frames[:, :, ::-1])


def cropped(frames: Picture) -> Picture:
    """Keep the centre, at the size of the whole."""
    _, height, width, _ = frames.shape
    y, x = (round(side * (1 - KEPT) / 2) for side in (height, width))
    return resized(frames[:, y : height - y, x : width - x], (height, width))


def uncropped(frames: Picture) -> Picture:
    """Shrink, with the edge repeated around it, so that a centre crop shows everything."""
    _, height, width, _ = frames.shape
    y, x = (round(side * (1 - KEPT) / 2) for side in (height, width))
    small = resized(frames, (height - 2 * y, width - 2 * x))
    return np.pad(small, ((0, 0), (y, y), (x, x), (0, 0)), mode="edge")


def letterboxed(frames: Picture) -> Picture:
    """Squeeze a picture of 4:3 between black bars, at the size of the whole."""
    _, height, width, _ = frames.shape
    bar = height // 8
    small = resized(frames, (height - 2 * bar, width))
    return np.pad(small, ((0, 0), (bar, bar), (0, 0), (0, 0)))


def unletterboxed(frames: Picture) -> Picture:
    """Remove the bars of `letterboxed`."""
    _, height, width, _ = frames.shape
    bar = height // 8
    return resized(frames[:, bar : height - bar], (height, width))


def padded(frames: Picture) -> OtherSize:
    """Pad to a square with black."""
    side = max(frames.shape[1:3])
    return PictureForm(size=(side, side), pad=True)(frames)


def stretched(frames: Picture) -> OtherSize:
    """Stretch to a square."""
    side = max(frames.shape[1:3])
    return PictureForm(size=(side, side), pad=False)(frames)


def resized(frames: Picture, size: tuple[int, int]) -> OtherSize:
    """Resize to (height, width)."""
    height, width = size
    return np.stack(
        [
            np.asarray(Image.fromarray(one).resize((width, height), Image.Resampling.BILINEAR))
            for one in np.ascontiguousarray(frames)
        ]
    )


def _sized(frames: Picture, share: float) -> OtherSize:
    return resized(frames, (round(frames.shape[1] * share), round(frames.shape[2] * share)))


def scaled(
    frames: Picture | Float32[Array, "n h w 3"],
    factor: float | Sequence[float],
    offset: float | Sequence[float],
) -> Float32[Array, "n h w 3"]:
    """Change the range of values, which bytes cannot hold."""
    return frames.astype(np.float32) * np.array(factor, np.float32) + np.array(offset, np.float32)


def swapped(moment: Observation, one: str, other: str) -> Observation:
    """Exchange two cameras; its own inverse."""
    frames = dict(moment.frames)
    frames[one], frames[other] = frames[other], frames[one]
    return replace(moment, frames=frames)


FRAMING = "framing"
# Code -> family, text, change.
PLAIN: Mapping[str, tuple[str, str, Callable[[Picture], Picture]]] = {
    "bgr": ("channels", "red and blue are swapped in its pictures", bgr),
    "rotated": ("orientation", "its pictures are turned by 180 degrees", rotated),
    "upside-down": ("orientation", "its pictures are turned upside down", upside_down),
    "mirrored": ("orientation", "its pictures are mirrored", mirrored),
    "crop": (FRAMING, f"its pictures are cropped to the middle {KEPT:.1%}", cropped),
    "no-crop": (
        FRAMING,
        f"its pictures are shrunk to {KEPT:.1%} (it crops)",
        uncropped,
    ),
    "letterbox": (FRAMING, "its pictures get black bars above and below (4:3)", letterboxed),
    "no-letterbox": (
        FRAMING,
        "the upper and lower eighth is cut off its pictures",
        unletterboxed,
    ),
}
# What a network gets is factor * picture + offset, for pictures from 0 to 255.
RANGES: Mapping[str, tuple[str, float | Sequence[float], float | Sequence[float]]] = {
    "divide-255": ("its pictures range from 0 to 1", 1 / 255, 0.0),
    "times-255": ("its pictures are multiplied by 255, because it divides twice", 255.0, 0.0),
    "range-1-1": ("its pictures range from -1 to 1 instead of 0 to 1", 2.0, -255.0),
    "range-0-1": ("its pictures range from 0 to 1 instead of -1 to 1", 0.5, 127.5),
    "imagenet": (
        "its pictures are normalised by ImageNet's mean and standard deviation",
        [1 / s for s in STD],
        [-255 * m / s for m, s in zip(MEAN, STD, strict=True)],
    ),
    "no-imagenet": (
        "its pictures are not normalised by ImageNet's mean and standard deviation, "
        "which it does by itself",
        list(STD),
        [255 * m for m in MEAN],
    ),
}


def picture_misreadings(
    views: Mapping[str, tuple[int, int]],
) -> tuple[list[Misreading], list[Untried]]:
    """List the misreadings of pictures that apply to a policy's `views` (height, width)."""
    if not views:
        return [], [Untried(code="pictures", reason="the policy reads no camera")]
    found = [
        Misreading(code=code, family=family, text=text, see=_of_views(change, views))
        for code, (family, text, change) in PLAIN.items()
    ]
    found += [
        Misreading(
            code=code,
            family="range",
            text=text,
            see=_of_views(partial(scaled, factor=factor, offset=offset), views),
        )
        for code, (text, factor, offset) in RANGES.items()
    ]
    missing = []
    if any(height != width for height, width in views.values()):
        found += [
            Misreading(
                code=code,
                family=FRAMING,
                text=f"its pictures are {text} to squares",
                see=_of_views(change, views),
            )
            for code, text, change in (
                ("pad", "padded", padded),
                ("stretch", "stretched", stretched),
            )
        ]
    else:
        missing.append(
            Untried(code="pad, stretch", reason="the pictures are square, so both are the same")
        )
    found += [
        Misreading(
            code=code,
            family=FRAMING,
            text=f"its pictures are {text} the size",
            see=_of_views(partial(_sized, share=share), views),
        )
        for share, code, text in ((0.5, "half-size", "half"), (2.0, "double-size", "twice"))
    ]
    if len(views) < 2:
        missing.append(Untried(code="cameras", reason="the policy reads one camera"))
    for one, other in combinations(views, 2):
        if views[one] != views[other]:
            missing.append(
                Untried(
                    code=f"cameras {one}/{other}",
                    reason="their pictures have different sizes",
                )
            )
            continue

        found.append(
            Misreading(
                code=f"cameras {one}/{other}",
                family="cameras",
                text=f"the cameras {one} and {other} are swapped",
                see=partial(swapped, one=one, other=other),
            )
        )
    return found, missing


def _of_views(change: Callable[[Picture], Array], views: Mapping[str, tuple[int, int]]) -> See:
    def see(moment: Observation) -> Observation:
        changed = {view: change(moment.frames[view]) for view in views}
        return replace(moment, frames={**moment.frames, **changed})

    return see
