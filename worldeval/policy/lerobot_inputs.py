"""Compare a LeRobot checkpoint's inputs with what a world provides: views, sizes, ranges.

A checkpoint accepts other sizes and units without an error, but then behaves differently.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np

from worldeval.axes import Array, Float32, UInt8
from worldeval.errors import UserError
from worldeval.policy.pictures import PictureForm
from worldeval.policy.views import find_view
from worldeval.record import Observation

IMAGES, IMAGE, STATE = "observation.images.", "observation.image", "observation.state"
# Settings by which a policy resizes images of any size itself.
RESIZES = ("resize_imgs_with_padding", "image_resolution", "resize_shape", "resize_size")
FAR = 10.0  # a value this many range widths outside the training data has other units


class LeRobotInputs:
    """Convert observations to a checkpoint's batches, and refuse unsuitable ones."""

    def __init__(
        self,
        config: Any,
        *,
        name: str,
        renamed: Mapping[str, str],
        form: PictureForm,
        ranges: Mapping[str, Mapping[str, Any]],
        resizes: bool,
    ) -> None:
        """`ranges` has the minimum and maximum of every input in the training data, if known.

        Raises:
            UserError: the checkpoint needs an input that no world model has, or has no such camera.
        """
        self._name, self._form = name, form
        self._shapes: dict[str, tuple[int, ...]] = {
            key: tuple(feature.shape) for key, feature in config.image_features.items()
        }
        reads = {key: tuple(feature.shape) for key, feature in config.input_features.items()}
        for key in reads:
            if key not in self._shapes and key != STATE:
                raise UserError(
                    f"LeRobot policy {name} needs the input '{key}', which a world model does not "
                    "have: it provides cameras and proprioception."
                )
        self.state: int | None = reads[STATE][0] if STATE in reads else None
        self.cameras: dict[str, str] = {}
        for key in self._shapes:
            camera = key.removeprefix(IMAGES) if key != IMAGE else "image"
            self.cameras[key] = renamed.get(camera, camera)
        own = {key.removeprefix(IMAGES) for key in self._shapes} | {"image"}
        for camera in renamed:
            if camera not in own:
                has = ", ".join(sorted(own & {k.removeprefix(IMAGES) for k in self._shapes}))
                raise UserError(f"LeRobot policy {name} has no camera '{camera}' (it has: {has}).")
        self._resizes = resizes or any(getattr(config, key, None) for key in RESIZES)
        self._ranges = ranges

    def batch(self, seen: Observation) -> dict[str, Any]:
        """Convert one moment to the input of the checkpoint's preprocessor."""
        torch, batch = import_module("torch"), {}
        for key, camera in self.cameras.items():
            frames = self._picture(key, camera, seen)
            batch[key] = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255
        if self.state is not None:
            batch[STATE] = torch.from_numpy(np.array(seen.pose, np.float32))
        batch["task"] = list(seen.tasks)
        return batch

    def check_start(self, seen: Observation) -> None:
        """Refuse proprioception of another size, or far outside the range of the training data.

        Raises:
            UserError: names the number, and its range in the training data.
        """
        if self.state is None:
            return
        if seen.pose.shape[1] != self.state:
            raise UserError(
                f"Policy {self._name} reads {self.state} values of proprioception, but the world "
                f"gives {seen.pose.shape[1]}."
            )
        known = self._ranges.get(STATE, {})
        if "min" not in known or "max" not in known:
            return
        low, high = (np.asarray(known[end], np.float64).reshape(-1) for end in ("min", "max"))
        if len(low) != self.state or len(high) != self.state:
            return
        width = high - low
        beyond = np.maximum(low - seen.pose, seen.pose - high)
        # A number that was constant in the training data reveals nothing about its units.
        wrong = ((beyond > FAR * width) & (width > 1e-3)).any(0)
        if wrong.any():
            place = int(np.flatnonzero(wrong)[0])
            raise UserError(
                f"Value {place} of the proprioception was between {low[place]:.3g} and "
                f"{high[place]:.3g} when policy {self._name} was trained, but the world gives "
                f"{seen.pose[0, place]:.3g}. Check units and order. Convert the values, or add "
                "check_ranges=false to the address."
            )

    def _picture(self, key: str, camera: str, seen: Observation) -> UInt8[Array, "b h w 3"]:
        view = find_view(
            camera,
            tuple(seen.frames),
            policy=self._name,
            remedy="Add views=<its camera>=<the world's view> to its address.",
        )
        frames, shape = self._form(np.ascontiguousarray(seen.frames[view])), self._shapes[key]
        if len(shape) != 3 or shape[0] != 3:
            raise UserError(
                f"Policy {self._name} reads '{key}' as {shape}, but a world's images are 3 x "
                "height x width."
            )
        if frames.shape[1:3] != shape[1:] and not self._resizes:
            raise UserError(
                f"Policy {self._name} was trained on images of {_by(shape[1:])} from '{camera}' "
                f"and does not resize, but the world's are {_by(frames.shape[1:3])}. Add "
                f"size={_address(shape[1:])} to its address (and pad=false to stretch)."
            )
        return frames


def training_ranges(pipeline: Any) -> dict[str, dict[str, Float32[Array, " n"]]]:
    """Read the minimum and maximum of every input in the training data from the normaliser."""
    found: dict[str, dict[str, Any]] = {}
    for step in getattr(pipeline, "steps", ()):
        for key, known in (getattr(step, "_tensor_stats", None) or {}).items():
            ends = {end: np.asarray(known[end]) for end in ("min", "max") if end in known}
            found.setdefault(str(key), {}).update(ends)
    return found


def resizes(pipeline: Any) -> bool:
    """Whether a checkpoint's own processors resize images."""
    names = [type(step).__name__ for step in getattr(pipeline, "steps", ())]
    return any("Resize" in name or "ImageCrop" in name for name in names)


def _by(shape: tuple[int, ...]) -> str:
    return f"{shape[0]} x {shape[1]}"


def _address(shape: tuple[int, ...]) -> str:
    return str(shape[0]) if shape[0] == shape[1] else f"{shape[0]}x{shape[1]}"
