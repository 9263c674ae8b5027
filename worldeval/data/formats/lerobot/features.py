"""Selection of the features of a LeRobot dataset that are its action, pose and views."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from worldeval.data.data_map import DataMap
from worldeval.data.finding import DataError
from worldeval.data.formats.lerobot.layout import ACTION, STATE, names_of, view_name
from worldeval.data.names import views_of

ACTIONS, STATES = (ACTION, "actions"), (STATE, "state")  # second: openpi's converters
REWARDS = ("next.reward", "reward")


@dataclass(frozen=True, kw_only=True)
class ChosenFeatures:
    """The features that are read, and the role of each."""

    action: tuple[str, ...]
    pose: tuple[str, ...]
    action_names: tuple[str, ...]
    pose_names: tuple[str, ...]
    views: Mapping[str, str]  # view -> feature
    sizes: Mapping[str, tuple[int, int]]  # view -> height, width
    video: Mapping[str, bool]  # view -> whether it is in a video file and not in the table
    depth: tuple[str, ...]  # features declared as depth and not mentioned by the map


def choose_features(features: Mapping[str, Any], where: Path, given: DataMap) -> ChosenFeatures:
    """Choose the features to read, following the map if it names them.

    Raises:
        DataError: one is missing or has the wrong shape.
    """
    action = given.action.keys or (_first(features, ACTIONS, where),)
    pose = given.pose.keys or (_first(features, STATES, where),)
    for key in (*action, *pose):
        _vector(features, key, where)
    keys, depth = _views(features, where, given)
    shapes = {view: features[key]["shape"] for view, key in keys.items()}
    return ChosenFeatures(
        action=action,
        pose=pose,
        action_names=_names(features, action, "action"),
        pose_names=_names(features, pose, "pose"),
        views=keys,
        sizes={view: (shape[0], shape[1]) for view, shape in shapes.items()},
        video={view: features[key]["dtype"] == "video" for view, key in keys.items()},
        depth=depth,
    )


def without(chosen: ChosenFeatures, view: str) -> ChosenFeatures:
    """Remove a view that turned out to hold depth."""
    return replace(lacking(chosen, view), depth=(*chosen.depth, chosen.views[view]))


def lacking(chosen: ChosenFeatures, view: str) -> ChosenFeatures:
    """Remove a view."""
    return replace(
        chosen,
        views={name: key for name, key in chosen.views.items() if name != view},
        sizes={name: size for name, size in chosen.sizes.items() if name != view},
        video={name: kind for name, kind in chosen.video.items() if name != view},
    )


def reward_key(features: Mapping[str, Any], given: DataMap) -> str:
    """Return the feature that 'reward' refers to in a success rule."""
    return given.reward or next((key for key in REWARDS if key in features), REWARDS[0])


def _views(
    features: Mapping[str, Any], where: Path, given: DataMap
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Map each view to its image or video feature; also list features excluded as depth."""
    keys = []
    for key, feature in features.items():
        dtype = feature.get("dtype") if isinstance(feature, dict) else None
        if dtype is None:
            raise DataError(where, f"features.{key}", "the key dtype is missing.")
        if dtype not in ("image", "video"):
            continue
        shape, names = feature.get("shape"), feature.get("names") or ()
        if not (isinstance(shape, list) and len(shape) == 3 and all(_side(n) for n in shape)):
            raise DataError(
                where, f"features.{key}.shape", f"{shape!r} is not the shape of an image."
            )
        if tuple(names)[:1] == ("channels",) or (shape[0] in (1, 3) and shape[2] not in (1, 3)):
            feature["shape"] = [shape[1], shape[2], shape[0]]  # some datasets declare CHW
        keys.append(key)
    for key in given.views.values():
        if key not in keys:
            words = f"it is not an image or video (available: {', '.join(keys) or 'none'})."
            raise DataError(where, f"features.{key}", words)
    if given.views:
        return dict(given.views), ()
    depth = tuple(key for key in keys if _says_depth(features[key]) and key not in given.depth)
    colour = [key for key in keys if key not in depth]
    if not colour:
        raise DataError(where, "features", f"there is no colour image or video{_of(depth)}.")
    return views_of({key: view_name(key) for key in colour}), depth


def _of(depth: Sequence[str]) -> str:
    return f" ({', '.join(depth)}: depth)" if depth else ""


def _says_depth(feature: Mapping[str, Any]) -> bool:
    """Whether LeRobot's own depth flag is set, wherever the version stores it."""
    places = [feature, feature.get("info") or {}, feature.get("video_info") or {}]
    flags = ("is_depth_map", "video.is_depth_map")
    return any(place.get(flag) is True for place in places for flag in flags)


def _names(features: Mapping[str, Any], keys: Sequence[str], prefix: str) -> tuple[str, ...]:
    if len(keys) == 1:
        return names_of(features[keys[0]], prefix)
    parts = [(key, name) for key in keys for name in names_of(features[key], key)]
    plain = [name for _, name in parts]
    if len(set(plain)) == len(plain):
        return tuple(plain)
    return tuple(f"{key}.{name}" for key, name in parts)


def _first(features: Mapping[str, Any], names: Sequence[str], where: Path) -> str:
    for name in names:
        if name in features:
            return name
    raise DataError(
        where,
        f"features.{names[0]}",
        f"it is missing (available: {', '.join(features)}).",
        "If it has another name, give that name in a map (--map: keys:).",
    )


def _vector(features: Mapping[str, Any], key: str, where: Path) -> None:
    feature = features.get(key)
    if feature is None:
        raise DataError(
            where, f"features.{key}", f"it is missing (available: {', '.join(features)})."
        )
    shape = feature.get("shape")
    if not (isinstance(shape, list) and len(shape) == 1 and _side(shape[0])):
        raise DataError(where, f"features.{key}.shape", f"{shape!r} is not the shape of a vector.")


def _side(value: object) -> bool:
    return isinstance(value, int) and 0 < value <= 8192
