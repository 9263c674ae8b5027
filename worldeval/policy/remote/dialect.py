"""Messages between a policy server and its client: openpi's protocol and worldeval's additions.

    server: {"worldeval": 1, "name", "lineage", "step", "views", "action_dim", "chunk", "space",
             "fps", "history", "replan", "replan_said_by", "content", "numbered"}
    client: {"observation/<view>": uint8 (h w 3), "observation/state": (p), "prompt": text}
    server: {"actions": (k a), "server_timing": {"infer_ms"}}

An openpi server sends other metadata first and answers the same. A worldeval server also accepts a
batch of episodes in one connection (every array with a leading axis, `prompt` a list), after
{"reset": {"tasks": [...], "seeds": [...]}}. A policy with `history` above 1 receives several frames
with one more axis after the batch axis, oldest first: (t h w 3) and (t p). The value of "request"
in a request is returned in its answer. A text frame is an error, and ends the connection.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from worldeval.errors import UserError, did_you_mean
from worldeval.policy.pictures import PictureForm
from worldeval.policy.protocol import PolicySpec
from worldeval.policy.remote.connection import NUMBERED
from worldeval.policy.remote.wire import WireError
from worldeval.policy.views import find_view, same_view
from worldeval.record import Observation

VERSION = 1
EPISODES = 1024  # maximum number in one batch
POLICIES = "policies"  # key of the names that a server with several policies lists at /*


@dataclass(frozen=True, kw_only=True)
class Keys:
    """The keys of an observation's parts. Default: `observation/<name>`."""

    views: Mapping[str, str] = field(default_factory=dict)  # view -> key
    # The pose's columns in order: (key, number of columns); one key without a width takes all.
    state: tuple[tuple[str, int | None], ...] = (("observation/state", None),)
    prompt: str = "prompt"

    def view(self, name: str) -> str:
        """The key of a view; a DROID camera may have any of its names."""
        named = same_view(name, self.views) or name
        return self.views.get(named, f"observation/{name}")


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
    """Parse `droid`, `libero`, or `side=observation/image;state=joints:7+gripper:1;prompt=task`."""
    if not text or text in PRESETS:
        return PRESETS.get(text, Keys())
    views, rest = {}, {}
    for entry in text.split(";"):
        name, equals, key = (part.strip() for part in entry.partition("="))
        if not (name and equals and key):
            hint = did_you_mean(text, PRESETS)
            raise UserError(f"keys '{text}' is not a view=key;state=key:width list.{hint}")
        if name == "state":
            rest["state"] = tuple(_column(part, text) for part in key.split("+"))
        elif name == "prompt":
            rest["prompt"] = key
        else:
            views[name] = key
    return Keys(views=views, **rest)


def announced(spec: PolicySpec, content: str = "") -> dict[str, Any]:
    """Build a worldeval server's metadata for a policy; `content` is a hash of its files."""
    said = {**asdict(spec), "views": list(spec.views), "content": content}
    return {"worldeval": VERSION, NUMBERED: True, **said}


def is_ours(metadata: Mapping[str, Any]) -> bool:
    """Whether it is a worldeval server, with batches and seeded resets."""
    said = metadata.get("worldeval")  # from the network: it may be an array
    return type(said) is int and said == VERSION


def spoken(
    observation: Observation,
    row: int | None,
    spec: PolicySpec,
    keys: Keys,
    form: PictureForm | None = None,
) -> dict:
    """Build the request of one episode, or of the whole batch if `row` is None."""
    request: dict[str, Any] = {}
    form = form or PictureForm()
    for view in spec.views:
        found = find_view(
            view,
            tuple(observation.frames),
            policy=spec.name,
            remedy="Add keys=<the world's view>=<the server's key> to its address.",
        )
        shown = [form(moment.frames[found]) for moment in observation.window]
        request[keys.view(view)] = _together(shown, row, spec.history)
    poses, first = [np.asarray(one.pose, np.float32) for one in observation.window], 0
    for key, width in keys.state:
        last = poses[0].shape[1] if width is None else first + width
        if last > poses[0].shape[1]:
            raise UserError(
                f"Policy {spec.name} reads {last} values of proprioception "
                f"({', '.join(name for name, _ in keys.state)}), but the world gives "
                f"{poses[0].shape[1]}."
            )
        request[key] = _together([pose[:, first:last] for pose in poses], row, spec.history)
        first = last
    request[keys.prompt] = list(observation.tasks) if row is None else observation.tasks[row]
    return request


def understood(request: Mapping[str, Any], spec: PolicySpec, keys: Keys) -> Observation:
    """Parse a request's observations; a request of one episode gives a batch of one.

    Raises:
        WireError: something is missing, or has another shape or type than the policy reads.
    """
    prompt, several = request.get(keys.prompt, ""), spec.history > 1
    single = isinstance(prompt, str)
    tasks = (prompt,) if isinstance(prompt, str) else _texts(prompt)
    frames = {}
    for view in spec.views:
        image = _of(request, keys.view(view))
        image = image[None] if single else image
        image = image if several else image[:, None]
        if image.dtype != np.uint8 or image.ndim != 5 or image.shape[4] != 3:
            raise WireError(
                f"'{keys.view(view)}' is {image.dtype} {_of(request, keys.view(view)).shape}; "
                "expected uint8 of shape (height, width, 3), with a leading axis for a batch"
                + (f" and one for {spec.history} frames, oldest first" if several else "")
            )
        frames[view] = image
    parts = [np.atleast_1d(_of(request, key)) for key, _ in keys.state]
    if single:
        parts = [part[None] for part in parts]
    for place, ((key, _), part) in enumerate(zip(keys.state, parts, strict=True)):
        parts[place] = row = part if several else part[:, None]
        if row.ndim != 3 or row.dtype.kind not in "iuf" or row.shape[0] != len(tasks):
            raise WireError(f"'{key}' is {part.dtype} {part.shape}; expected a vector per episode")
    counts = {len(tasks), *(len(image) for image in frames.values())}
    if len(counts) > 1:
        raise WireError(f"images and prompts have different numbers of episodes: {sorted(counts)}")
    moments = {part.shape[1] for part in (*parts, *frames.values())}
    if moments != {spec.history}:
        raise WireError(f"got {sorted(moments)} frames of history; expected {spec.history}")
    pose = np.concatenate(parts, axis=2).astype(np.float32)
    *past, now = (
        Observation(
            frames={view: image[:, moment] for view, image in frames.items()},
            pose=pose[:, moment],
            tasks=tasks,
        )
        for moment in range(spec.history)
    )
    return replace(now, past=tuple(past))


def reset_of(request: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Tasks and seeds of a request to begin a batch of episodes."""
    asked = request["reset"]
    if not isinstance(asked, dict):
        raise WireError("'reset' must be a map with tasks and seeds")
    tasks, seeds = _texts(asked.get("tasks")), asked.get("seeds")
    if not isinstance(seeds, list) or not all(type(seed) is int and seed >= 0 for seed in seeds):
        raise WireError("seeds of 'reset' must be a list of non-negative integers")
    if len(seeds) != len(tasks):
        raise WireError(f"'reset' has {len(tasks)} tasks and {len(seeds)} seeds")
    return tasks, tuple(seeds)


def _together(moments: Sequence[np.ndarray], row: int | None, history: int) -> np.ndarray:
    """One episode's part, or all of it; several moments as one more axis before the rest."""
    parts = [part if row is None else part[row] for part in moments]
    axis = 1 if row is None else 0
    return np.ascontiguousarray(parts[0] if history == 1 else np.stack(parts, axis))


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise WireError("tasks must be a list with one text per episode")
    if not 1 <= len(value) <= EPISODES:
        raise WireError(f"got {len(value)} episodes; a batch has 1 to {EPISODES}")
    return tuple(value)


def _of(request: Mapping[str, Any], key: str) -> np.ndarray:
    if key not in request:
        found = ", ".join(sorted(str(name)[:40] for name in request)[:12]) or "nothing"
        raise WireError(f"'{key}' is missing (available: {found})")
    value = request[key]
    if isinstance(value, int | float):
        value = np.asarray(value)
    if not isinstance(value, np.ndarray | np.generic):
        raise WireError(f"'{key}' is a {type(value).__name__}; expected an array")
    return np.asarray(value)


def _column(text: str, whole: str) -> tuple[str, int | None]:
    key, colon, width = text.strip().rpartition(":")
    if not colon:
        return width, None
    if not width.isdigit():
        raise UserError(f"keys '{whole}': '{text}' must have the form key:width, such as joints:7.")
    return key, int(width)
