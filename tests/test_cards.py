"""Cards beside weights (world.json, judge.json, policy.json, adapter.json, cache.json) and the
weights themselves: whatever stands in them, it is read or refused in one line."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.toy_run import make_run
from worldeval.checked_weights import load_checked, save_checked
from worldeval.errors import UserError
from worldeval.judge.load import load_judge
from worldeval.policy.adapters.folder import AdapterCard, load_adapter, save_adapter
from worldeval.policy.checkpoint import load as load_policy
from worldeval.policy.checkpoint import read_card
from worldeval.world.load import load_world

ADAPTER = AdapterCard(
    policy="ee-delta(euler)+1", world="ee-delta(euler)+1", policy_fps=10, world_fps=5
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("cards")
    make_run(home, policies=("a/step-1",))
    save_adapter(home / "adapter", ADAPTER)
    return home


READERS: dict[str, tuple[str, str, Callable[[Path], Any]]] = {
    "world": ("world", "world.json", load_world),
    "judge": ("judge", "judge.json", load_judge),
    "policy": ("policies/a/step-1", "policy.json", load_policy),
    "adapter": ("adapter", "adapter.json", load_adapter),
}
"""kind -> folder, card, reader"""


def copied(made: Path, kind: str, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made / READERS[kind][0], tmp_path / "copy"))


def one_line(reader: Callable[[Path], Any], folder: Path) -> str:
    with pytest.raises(UserError) as error:
        reader(folder)
    text = str(error.value)
    assert "\n" not in text and len(text) < 900, text
    return text


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"3", b"\xff\xfe\x00", b"[" * 50_000, b'{"kind": NaN}', b"{}", b'{"card": 3}'],
)
def test_a_card_of_another_shape(made: Path, tmp_path: Path, kind: str, content: bytes) -> None:
    folder = copied(made, kind, tmp_path)
    _, name, reader = READERS[kind]
    reader(folder)
    (folder / name).write_bytes(content)
    assert name in one_line(reader, folder)


@pytest.mark.parametrize(
    ("kind", "where", "key", "constant"),
    [
        ("world", ("recipe", "tokenizer"), "foreground", 4.0),
        ("world", ("recipe",), "adapt_learning_rate", 0.5),
        ("judge", ("recipe",), "real_share", 0.25),
        ("policy", ("recipe",), "noise_levels", 100),
    ],
)
def test_a_card_of_an_earlier_version_holds_keys_that_are_constants_now(
    made: Path, tmp_path: Path, kind: str, where: tuple[str, ...], key: str, constant: float
) -> None:
    folder = copied(made, kind, tmp_path)
    _, name, reader = READERS[kind]
    for value in (constant, 2 * constant):
        card = json.loads((folder / name).read_text())
        inner = card
        for part in where:
            inner = inner[part]
        inner[key] = value
        (folder / name).write_text(json.dumps(card))
        if value == constant:
            reader(folder)
    said = one_line(reader, folder)
    assert f"{key}' is {2 * constant!r}, but it is fixed at {constant!r} since worldeval" in said
    assert name in said and "need an older version" in said


def paths(content: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value."""
    keys = (
        list(content)
        if isinstance(content, dict)
        else range(len(content))
        if isinstance(content, list)
        else []
    )
    return [(*at, key) for key in keys] + [
        path for key in keys for path in paths(content[key], (*at, key))
    ]


ODD = [None, "text", -3, 0, 1e308, [], {}, True, [[1]], 10**30]


@pytest.mark.parametrize("kind", READERS)
def test_any_value_of_a_card_replaced(made: Path, tmp_path: Path, kind: str) -> None:
    """Twice as many draws as a card has places; each ends well or in one line."""
    folder = copied(made, kind, tmp_path)
    _, name, reader = READERS[kind]
    whole, rng = json.loads((folder / name).read_text()), np.random.default_rng(0)
    refused = 0
    for path in paths(whole):
        content = json.loads(json.dumps(whole))
        inner = content
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = ODD[int(rng.integers(len(ODD)))]
        (folder / name).write_text(json.dumps(content))
        try:
            reader(folder)
        except UserError as error:
            refused += 1
            assert "\n" not in str(error), path
    assert refused > 3


@pytest.mark.parametrize(
    ("kind", "file"),
    [
        ("world", "dynamics.safetensors"),
        ("world", "tokenizer.safetensors"),
        ("judge", "judge.safetensors"),
        ("policy", "policy.safetensors"),
    ],
)
def test_weights_of_another_size_or_damaged(
    made: Path, tmp_path: Path, kind: str, file: str
) -> None:
    folder = copied(made, kind, tmp_path)
    reader, path = READERS[kind][2], folder / file
    whole = path.read_bytes()
    tensors = load_checked(path)
    first = next(iter(tensors))
    save_checked(path, {**tensors, first: torch.zeros(7, 5)})
    assert file in one_line(reader, folder)
    save_checked(path, {name: one for name, one in tensors.items() if name != first})
    assert file in one_line(reader, folder)
    rng, header = np.random.default_rng(0), int.from_bytes(whole[:8], "little")
    for place in (*range(8), *rng.integers(8, 8 + header, 25), *rng.integers(0, len(whole), 5)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 2]) + whole[place + 1 :])
        try:
            reader(folder)
        except UserError as error:
            assert "\n" not in str(error)
    path.write_bytes(whole[: len(whole) // 2])
    assert "damaged" in one_line(reader, folder)
    path.unlink()
    if file != "tokenizer.safetensors":  # a world may have none
        assert file in one_line(reader, folder)


def test_what_a_checkpoint_says_of_itself_is_checked_without_its_weights(
    made: Path, tmp_path: Path
) -> None:
    folder = copied(made, "policy", tmp_path)
    assert read_card(folder).lineage == "a"
    content = json.loads((folder / "policy.json").read_text())
    content["card"]["step"] = "one"
    (folder / "policy.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"policy\.json: 'card\.step' is 'one'"):
        read_card(folder)
