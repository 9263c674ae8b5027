"""Faults of a policy's interface, injected into sound policies, and the change that mends each.

They are written without the changes of worldeval/policy/misread, which are to find them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image
from scipy.spatial.transform import Rotation

from tests.support.arm import Arm
from worldeval.data.source import Source
from worldeval.policy.protocol import Policy
from worldeval.record import Observation

Wrap = Callable[[Policy, Source], Policy]
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A name, what must be named, and how a sound policy gets it."""

    name: str
    expected: tuple[str, ...]
    wrap: Wrap

    def __call__(self, policy: Policy, source: Source) -> Policy:
        return self.wrap(policy, source)


class Spoilt:
    """A policy that is given other pictures or poses, or whose actions are changed."""

    def __init__(self, policy, see=None, act=None) -> None:
        self._policy, self._see, self._act, self.spec = policy, see, act, policy.spec

    def reset(self, tasks, seeds) -> None:
        self._policy.reset(tasks, seeds)

    def act(self, observation: Observation) -> np.ndarray:
        shown = observation if self._see is None else observation.each(self._see)
        chunk = np.array(self._policy.act(shown), np.float64)
        changed = chunk if self._act is None else self._act(chunk, observation.pose)
        return changed.astype(np.float32)


class Stale(Spoilt):
    """A policy that is always shown the frame before."""

    def reset(self, tasks, seeds) -> None:
        super().reset(tasks, seeds)
        self._before: Observation | None = None

    def act(self, observation: Observation) -> np.ndarray:
        shown, self._before = self._before or observation, observation
        return self._policy.act(shown)


class Early(Spoilt):
    """A policy whose chunk lacks its first action."""

    def act(self, observation: Observation) -> np.ndarray:
        chunk = self._policy.act(observation)
        return np.concatenate([chunk[:, 1:], chunk[:, -1:]], 1)


def pictures(name: str, expected: str, change: Callable[[np.ndarray], np.ndarray]) -> Fault:
    """A fault of all pictures."""

    def see(moment: Observation) -> Observation:
        return replace(moment, frames={view: change(x) for view, x in moment.frames.items()})

    return Fault(name=name, expected=(expected,), wrap=lambda policy, _: Spoilt(policy, see))


def poses(name: str, expected: str, change: Callable[[np.ndarray], np.ndarray]) -> Fault:
    """A fault of the pose that a policy is given."""

    def see(moment: Observation) -> Observation:
        return replace(moment, pose=change(moment.pose.astype(np.float64)).astype(np.float32))

    return Fault(name=name, expected=(expected,), wrap=lambda policy, _: Spoilt(policy, see))


def actions(
    name: str, expected: str, change: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> Fault:
    """A fault of a policy's actions, given the pose."""
    return Fault(name=name, expected=(expected,), wrap=lambda policy, _: Spoilt(policy, act=change))


def columns(span: slice, change: Callable[[np.ndarray], np.ndarray]):
    """Change some of the last axis."""

    def changed(values: np.ndarray, _: np.ndarray | None = None) -> np.ndarray:
        out = np.array(values, np.float64)
        flat = out.reshape(-1, out.shape[-1])
        flat[:, span] = change(flat[:, span])
        return flat.reshape(out.shape)

    return changed


def pair(name: str, first: Fault, second: Fault) -> Fault:
    """Two faults at once."""
    return Fault(
        name=name,
        expected=(*first.expected, *second.expected),
        wrap=lambda policy, source: second(first(policy, source), source),
    )


def resize(frames: np.ndarray, height: int, width: int) -> np.ndarray:
    made = [np.asarray(Image.fromarray(x).resize((width, height), Image.Resampling.BILINEAR))
            for x in np.ascontiguousarray(frames)]  # fmt: skip
    return np.stack(made)


def without_bars(frames: np.ndarray) -> np.ndarray:
    """A policy made for pictures with bars, which its network does not see any more."""
    height, width = frames.shape[1:3]
    return resize(frames[:, height // 8 : height - height // 8], height, width)


def cut(frames: np.ndarray) -> np.ndarray:
    height, width = frames.shape[1:3]
    y, x = height // 16, width // 16
    return resize(frames[:, y : height - y, x : width - x], height, width)


def pasted(frames: np.ndarray) -> np.ndarray:
    """A policy made for pictures of twice the size, which puts them on its canvas as they are."""
    height, width = frames.shape[1:3]
    if height > 40:  # these fill the canvas
        return resize(frames, height // 2, width // 2)
    canvas = np.zeros((len(frames), 2 * height, 2 * width, 3), np.uint8)
    canvas[:, :height, :width] = frames
    return resize(canvas, height, width)


def pads(frames: np.ndarray) -> np.ndarray:
    """A policy made for stretched squares, which pads: its network sees them at the old size."""
    height, width = frames.shape[1:3]
    side = max(height, width)
    square = np.zeros((len(frames), side, side, 3), np.uint8)
    y, x = (side - height) // 2, (side - width) // 2
    square[:, y : y + height, x : x + width] = frames
    return resize(square, 24, 32)


def stretches(frames: np.ndarray) -> np.ndarray:
    """A policy made for padded squares, which stretches: its network cuts the bars off."""
    side = max(frames.shape[1:3])
    square = resize(frames, side, side)
    return square[:, 4:28]


PICTURES = (
    pictures("bgr", "bgr", lambda x: x[..., ::-1]),
    pictures("turned by 180 degrees", "rotated", lambda x: x[:, ::-1, ::-1]),
    pictures("upside down", "upside-down", lambda x: x[:, ::-1]),
    pictures("mirrored", "mirrored", lambda x: x[:, :, ::-1]),
    pictures("made for bars above and below", "letterbox", without_bars),
    pictures("cropped", "no-crop", cut),
)
RANGES = (
    pictures("pictures divided twice", "times-255", lambda x: (x / 255).astype(np.float32)),
    pictures("pictures not divided", "divide-255", lambda x: (x * 255.0).astype(np.float32)),
    pictures(
        "pictures -1 to 1, not 0 to 1", "range-0-1",
        lambda x: (2.0 * x - 255).astype(np.float32),
    ),
    pictures(
        "pictures normalised twice", "no-imagenet",
        lambda x: (255 * (x / 255 - MEAN) / STD).astype(np.float32),
    ),
)  # fmt: skip


def swap_cameras(one: str, other: str) -> Fault:
    def see(moment: Observation) -> Observation:
        frames = dict(moment.frames)
        frames[one], frames[other] = frames[other], frames[one]
        return replace(moment, frames=frames)

    return Fault(
        name="cameras swapped", expected=(f"cameras {one}/{other}",),
        wrap=lambda policy, _: Spoilt(policy, see),
    )  # fmt: skip


def stats(source: Source) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of the dataset's actions, as its own statistics have them."""
    rows = np.concatenate([source.rows(index).actions for index in range(len(source))])
    return rows.mean(0), rows.std(0) + 1e-9


def pose_stats(source: Source) -> tuple[np.ndarray, np.ndarray]:
    rows = np.concatenate([source.rows(index).pose for index in range(len(source))])
    return rows.mean(0), rows.std(0) + 1e-9


def _normalises(policy: Policy, source: Source) -> Policy:
    mean, std = stats(source)
    return Spoilt(policy, act=lambda a, _: (a - mean) / std)


def _scales_back(policy: Policy, source: Source) -> Policy:
    mean, std = stats(source)
    return Spoilt(policy, act=lambda a, _: a * std + mean)


def _sees_normalised(policy: Policy, source: Source) -> Policy:
    mean, std = pose_stats(source)

    def see(moment: Observation) -> Observation:
        return replace(moment, pose=((moment.pose - mean) / std).astype(np.float32))

    return Spoilt(policy, see)


NORMALISED = (
    Fault(name="actions left normalised", expected=("action-mean-std-raw",), wrap=_normalises),
    Fault(
        name="actions scaled back twice", expected=("action-mean-std-normalised",),
        wrap=_scales_back,
    ),
    Fault(name="state normalised twice", expected=("pose-mean-std-raw",), wrap=_sees_normalised),
)  # fmt: skip


def _euler(order: str, values: np.ndarray, to: str) -> np.ndarray:
    return Rotation.from_euler(order, values).as_euler(to)


def _rows(values: np.ndarray) -> np.ndarray:
    """Both columns of a rotation matrix to both rows; its own inverse but for noise."""
    one = values[:, :3] / np.linalg.norm(values[:, :3], axis=1, keepdims=True)
    two = values[:, 3:] - (one * values[:, 3:]).sum(1, keepdims=True) * one
    two /= np.linalg.norm(two, axis=1, keepdims=True)
    matrix = np.stack([one, two, np.cross(one, two)], 2)
    return np.concatenate([matrix[:, 0], matrix[:, 1]], 1)


def faults_of(arm: Arm, kind: str, *, general: bool = True) -> Iterator[Fault]:
    """Every fault that a policy of a kind can have on an arm.

    The scripted policy looks for single colours: the range of values does not concern it, and
    blurred edges confuse it, so it is not cropped.

    Args:
        general: also those that any robot can have.
    """
    if kind == "act":
        yield Fault(
            name="first action lost", expected=("lag+1",), wrap=lambda policy, _: Early(policy)
        )
        return
    gripper = slice(-1, None)
    opened, closed = arm.gripper
    flipped = actions(
        "gripper swapped", "action-gripper-swapped",
        columns(gripper, lambda x: opened + closed - x),
    )  # fmt: skip
    yield flipped
    if general:
        cameras = swap_cameras("front", "top")
        yield from PICTURES if kind != "scripted" else PICTURES[:-1]
        yield from RANGES if kind != "scripted" else ()
        yield from NORMALISED
        yield cameras
        yield pair("bgr and gripper", PICTURES[0], flipped)
        yield pair("cameras and gripper", cameras, flipped)
    if arm.size[0] != arm.size[1]:
        yield pictures("pads, made for stretched", "stretch", pads)
        yield pictures("stretches, made for padded", "pad", stretches)
    else:
        yield pictures("canvas of twice the size", "double-size", pasted)
    if opened == -1:
        yield actions(
            "gripper 0 to 1", "action-gripper-0-1", columns(gripper, lambda x: (x + 1) / 2)
        )
    else:
        yield actions(
            "gripper -1 to 1", "action-gripper--1-1", columns(gripper, lambda x: 2 * x - 1)
        )
    # Targets of a moment ago are where the robot is: that looks like standing still.
    if arm.motion == "delta":
        when = "lag-2" if kind == "scripted" else "lag-1"
        yield Fault(name="stale by a call", expected=(when,), wrap=lambda policy, _: Stale(policy))
    if arm.form == "joint":
        yield from _joint_faults(arm)
        return
    yield from _place_faults(arm)
    if arm.motion == "absolute":
        yield from _turn_faults(arm)


def _joint_faults(arm: Arm) -> Iterator[Fault]:
    joints = slice(0, 5)
    yield actions("actions in degrees", "action-joints-radians", columns(joints, np.rad2deg))
    yield poses("state taken for degrees", "pose-joints-degrees", columns(joints, np.deg2rad))
    if arm.motion == "absolute":
        yield actions("deltas, not targets", "actions-delta", _less(joints))
    else:
        yield actions("targets, not deltas", "actions-absolute", _plus(joints))


def _place_faults(arm: Arm) -> Iterator[Fault]:
    place = slice(0, 3)
    yield actions("actions in mm", "action-positions-x0.001", columns(place, lambda x: 1000 * x))
    yield actions("actions in m taken for mm", "action-positions-x1000",
                  columns(place, lambda x: x / 1000))  # fmt: skip
    yield poses("state taken for mm", "pose-positions-x1000", columns(place, lambda x: x / 1000))
    yield poses("state to mm", "pose-positions-x0.001", columns(place, lambda x: 1000 * x))


def _less(span: slice) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Targets to changes, one after the other."""

    def act(chunk: np.ndarray, pose: np.ndarray) -> np.ndarray:
        out = np.array(chunk)
        before = np.concatenate([pose[:, None, span], chunk[:, :-1, span]], 1)
        out[..., span] = chunk[..., span] - before
        return out

    return act


def _plus(span: slice) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    def act(chunk: np.ndarray, pose: np.ndarray) -> np.ndarray:
        out = np.array(chunk)
        out[..., span] = pose[:, None, span] + np.cumsum(chunk[..., span], 1)
        return out

    return act


def _turn_faults(arm: Arm) -> Iterator[Fault]:
    turn = slice(3, -1)
    if arm.form == "euler":
        yield actions("yaw, pitch, roll", "action-rotation-yaw-pitch-roll",
                      columns(turn, lambda x: x[:, ::-1]))  # fmt: skip
        yield actions("angles about moving axes", "action-rotation-euler-intrinsic",
                      columns(turn, lambda x: _euler("xyz", x, "XYZ")))  # fmt: skip
        yield actions("angles in degrees", "action-rotations-radians", columns(turn, np.rad2deg))
        yield poses("state's angles taken for degrees", "pose-rotations-degrees",
                    columns(turn, np.deg2rad))  # fmt: skip
        yield poses("state as yaw, pitch, roll", "pose-rotation-yaw-pitch-roll",
                    columns(turn, lambda x: x[:, ::-1]))  # fmt: skip
    elif arm.form == "quaternion":
        yield actions("quaternion w first", "action-rotation-quaternion-wxyz",
                      columns(turn, lambda x: x[:, [3, 0, 1, 2]]))  # fmt: skip
        yield poses("state's quaternion w first", "pose-rotation-quaternion-wxyz",
                    columns(turn, lambda x: x[:, [1, 2, 3, 0]]))  # fmt: skip
    elif arm.form == "6d":
        yield actions("6-D rows", "action-rotation-6d-rows", columns(turn, _rows))
        yield actions("6-D interleaved", "action-rotation-6d-interleaved",
                      columns(turn, lambda x: x[:, [0, 3, 1, 4, 2, 5]]))  # fmt: skip
        yield poses("state's 6-D rows", "pose-rotation-6d-rows", columns(turn, _rows))


def metaworld_faults() -> Iterator[Fault]:
    """Faults of the shipped policies, whose actions are five steps of dx, dy, dz and gripper."""
    gripper = slice(3, None, 4)
    flipped = actions("gripper swapped", "action-gripper-swapped", columns(gripper, lambda x: -x))
    yield from PICTURES
    yield from RANGES
    yield swap_cameras("side", "top")
    yield flipped
    yield pair("bgr and gripper", PICTURES[0], flipped)
    yield actions("gripper 0 to 1", "action-gripper-0-1", columns(gripper, lambda x: (x + 1) / 2))
    yield from NORMALISED
    place = slice(0, 3)
    yield poses("state taken for mm", "pose-positions-x1000", columns(place, lambda x: x / 1000))
    yield poses("state to mm", "pose-positions-x0.001", columns(place, lambda x: 1000 * x))
