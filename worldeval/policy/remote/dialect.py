"""What a policy server and its client say to each other: openpi's dialect, and what we add to it.

    server: {"worldeval": 1, "name", "lineage", "step", "views", "action_dim", "chunk", "space",
             "content"}
    client: {"observation/<view>": uint8 (h w 3), "observation/state": (p), "prompt": text}
    server: {"actions": (k a), "server_timing": {"infer_ms"}}

An openpi server sends other metadata first and answers the same. Ours also takes a whole batch of
episodes in one connection (every array with a leading axis, `prompt` a list), after
{"reset": {"tasks": [...], "seeds": [...]}}. A text frame is an error, and ends the connection.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from worldeval.errors import UserError, did_you_mean
from worldeval.policy.protocol import PolicySpec
from worldeval.policy.remote.wire import WireError
from worldeval.record import Observation

VERSION = 1
EPISODES = 1024  # the most in one batch


@dataclass(frozen=True, kw_only=True)
class Keys:
    """Under which keys an observation travels. What is not named goes by `observation/<name>`."""

    views: Mapping[str, str] = field(default_factory=dict)  # view -> key
    # The pose's columns in order: (key, how many); one key without a width takes all.
    state: tuple[tuple[str, int | None], ...] = (("observation/state", None),)
    prompt: str = "prompt"

    def view(self, name: str) -> str:
        return self.views.get(name, f"observation/{name}")


DROID = Keys(
    views={
        "exterior_image_1_left": "observation/exterior_image_1_left",
        "wrist_image_left": "observation/wrist_image_left",
    },
    state=(("observation/joint_position", 7), ("observation/gripper_position", 1)),
)
LIBERO = Keys(views={"image": "observation/image", "wrist_image": "observation/wrist_image"})
PRESETS = {"droid": DROID, "libero": LIBERO}


def read_keys(text: str) -> Keys:
    """`droid`, `libero`, or `side=observation/image;state=joints:7+gripper:1;prompt=task`."""
    if not text or text in PRESETS:
        return PRESETS.get(text, Keys())
    views, rest = {}, {}
    for entry in text.split(";"):
        name, equals, key = (part.strip() for part in entry.partition("="))
        if not (name and equals and key):
            hint = did_you_mean(text, PRESETS)
            raise UserError(f"keys '{text}' are no view=key;state=key:width list.{hint}")
        if name == "state":
            rest["state"] = tuple(_column(part, text) for part in key.split("+"))
        elif name == "prompt":
            rest["prompt"] = key
        else:
            views[name] = key
    return Keys(views=views, **rest)


def announced(spec: PolicySpec, content: str = "") -> dict[str, Any]:
    """The metadata by which our servers present a policy; `content` is a hash of its files."""
    return {"worldeval": VERSION, **asdict(spec), "views": list(spec.views), "content": content}


def is_ours(metadata: Mapping[str, Any]) -> bool:
    """Whether the server speaks our part of the dialect: batches, resets with seeds."""
    return metadata.get("worldeval") == VERSION


def spoken(observation: Observation, row: int | None, spec: PolicySpec, keys: Keys) -> dict:
    """The request of one episode, or of the whole batch where `row` is None."""
    pick = slice(None) if row is None else row
    request: dict[str, Any] = {}
    for view in spec.views:
        if view not in observation.frames:
            known = ", ".join(observation.frames)
            hint = did_you_mean(view, observation.frames)
            raise UserError(
                f"Policy {spec.name} reads view '{view}'; the world has {known}.{hint} "
                "Give keys=<the world's view>=<the server's key> with its address."
            )
        request[keys.view(view)] = np.ascontiguousarray(observation.frames[view][pick])
    pose, first = np.asarray(observation.pose, np.float32), 0
    for key, width in keys.state:
        last = pose.shape[1] if width is None else first + width
        if last > pose.shape[1]:
            raise UserError(
                f"Policy {spec.name} reads {last} numbers of proprioception "
                f"({', '.join(name for name, _ in keys.state)}); the world gives {pose.shape[1]}."
            )
        request[key] = np.ascontiguousarray(pose[pick, first:last])
        first = last
    request[keys.prompt] = list(observation.tasks) if row is None else observation.tasks[row]
    return request


def understood(request: Mapping[str, Any], spec: PolicySpec, keys: Keys) -> Observation:
    """The batch that a request observes; a request of one episode gives a batch of one.

    Raises:
        WireError: something is missing, or of another shape or kind than a policy reads.
    """
    prompt = request.get(keys.prompt, "")
    tasks = (prompt,) if isinstance(prompt, str) else _texts(prompt)
    frames = {}
    for view in spec.views:
        image = _of(request, keys.view(view))
        image = image[None] if isinstance(prompt, str) else image
        if image.dtype != np.uint8 or image.ndim != 4 or image.shape[3] != 3:
            raise WireError(
                f"'{keys.view(view)}' is {image.dtype} {image.shape}; an image is uint8, height x "
                "width x 3, and a batch of them has one more axis in front"
            )
        frames[view] = image
    parts = [np.atleast_1d(_of(request, key)) for key, _ in keys.state]
    if isinstance(prompt, str):
        parts = [part[None] for part in parts]
    for (key, _), part in zip(keys.state, parts, strict=True):
        if part.ndim != 2 or part.dtype.kind not in "iuf" or part.shape[0] != len(tasks):
            raise WireError(f"'{key}' is {part.dtype} {part.shape}; a row of numbers is needed")
    counts = {len(tasks), *(len(image) for image in frames.values())}
    if len(counts) > 1:
        raise WireError(f"images and prompts are of {sorted(counts)} episodes")
    pose = np.concatenate(parts, axis=1).astype(np.float32)
    return Observation(frames=frames, pose=pose, tasks=tasks)


def reset_of(request: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Tasks and seeds of a request to begin a batch of episodes."""
    asked = request["reset"]
    if not isinstance(asked, dict):
        raise WireError("'reset' needs tasks and seeds")
    tasks, seeds = _texts(asked.get("tasks")), asked.get("seeds")
    if not isinstance(seeds, list) or not all(type(seed) is int and seed >= 0 for seed in seeds):
        raise WireError("'reset' needs seeds, whole numbers from 0")
    if len(seeds) != len(tasks):
        raise WireError(f"'reset' has {len(tasks)} tasks and {len(seeds)} seeds")
    return tasks, tuple(seeds)


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise WireError("a text for every episode is needed")
    if not 1 <= len(value) <= EPISODES:
        raise WireError(f"{len(value)} episodes; 1 to {EPISODES} go together")
    return tuple(value)


def _of(request: Mapping[str, Any], key: str) -> np.ndarray:
    if key not in request:
        found = ", ".join(sorted(str(name)[:40] for name in request)[:12]) or "nothing"
        raise WireError(f"'{key}' is missing; the request has {found}")
    value = request[key]
    if isinstance(value, int | float):
        value = np.asarray(value)
    if not isinstance(value, np.ndarray | np.generic):
        raise WireError(f"'{key}' is a {type(value).__name__}; an array is needed")
    return np.asarray(value)


def _column(text: str, whole: str) -> tuple[str, int | None]:
    key, colon, width = text.strip().rpartition(":")
    if not colon:
        return width, None
    if not width.isdigit():
        raise UserError(f"keys '{whole}': '{text}' must be a key and a width, such as joints:7.")
    return key, int(width)
