"""The map by which a dataset was read, as editable text in which guesses are marked."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import yaml

from worldeval.data.columns import ColumnGroup
from worldeval.data.data_map import DataMap, NumbersMap
from worldeval.data.kept_meaning import described
from worldeval.data.source import Source

GUESS = "  # guess"
HEAD = """\
# How {path} ({format}) was read. Save this in a file, edit it, and give the file with --map.
# Lines marked as a guess state what the files do not. Check that they are correct.
"""
# finding -> the key that it makes a guess of
GUESSED = {"fps-guessed": "fps", "channels-guessed": "channels", "success-guessed": "success"}
SUCCESS = "reward >= 1"  # what readers take for success where rewards are 0 and 1


def write_map(source: Source) -> str:
    """Write the map by which `source` was read."""
    spec, given = source.spec, source.spec.read_as
    guessed = {key for code, key in GUESSED.items() if any(f.code == code for f in source.findings)}
    return HEAD.format(path=spec.path, format=spec.format) + "".join(
        f"{line}\n" for line in _lines(source, given, guessed)
    )


def _lines(source: Source, given: DataMap, guessed: set[str]) -> Iterator[str]:
    def line(key: str, value: Any) -> str:
        return f"{key}: {_flow(value)}{GUESS if key in guessed else ''}"

    every = given.every or 1
    yield line("fps", source.spec.fps * every)
    if every > 1:
        yield line("every", every)
    for side, numbers in (("action", given.action), ("pose", given.pose)):
        yield from _numbers(side, numbers)
    if given.views:
        yield line("views", dict(given.views))
    for key in ("channels", "task", "task_key", "reward"):
        if getattr(given, key):
            yield line(key, getattr(given, key))
    if given.depth:
        yield line("depth", {key: list(ends) for key, ends in given.depth.items()})
    if given.convert_units:
        yield line("convert_units", True)
    if given.success or "success" in guessed:
        yield line("success", given.success or SUCCESS)
    else:
        yield "# success: reward >= 0.95 in the last frame"


def _numbers(side: str, numbers: NumbersMap) -> Iterator[str]:
    yield f"{side}:"
    if numbers.next_pose:
        yield "  next_pose: true"
    elif numbers.keys:
        yield f"  keys: {_flow(list(numbers.keys))}"
    if numbers.columns:
        yield "  columns:"
    for group in numbers.columns:
        yield f"    - {_flow(_said(group))}{GUESS if group.guessed else ''}"


def _said(group: ColumnGroup) -> Mapping[str, Any]:
    """The fields of a group that differ from the defaults; a guess is a comment beside them."""
    return described(replace(group, guessed=False))


def _flow(value: Any) -> str:
    """One line of YAML."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10**6)
    return text.removesuffix("\n").removesuffix("\n...").strip()
