"""Weights come back as they were, or are refused in one line."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from worldeval.checked_weights import load_checked, save_checked
from worldeval.errors import UserError

TENSORS = {
    "a.weight": torch.arange(12.0).reshape(3, 4),
    "b": torch.ones(5, dtype=torch.int8),
    "half": torch.full((2, 2), 0.5, dtype=torch.bfloat16),
    "one": torch.tensor(3.0),
    "none": torch.zeros(0, 4),
    "flag": torch.tensor([True, False]),
}


def test_what_was_written_is_read(tmp_path: Path) -> None:
    save_checked(tmp_path / "w.safetensors", TENSORS)
    found = load_checked(tmp_path / "w.safetensors")
    assert found.keys() == TENSORS.keys()
    assert all(torch.equal(found[name], TENSORS[name]) for name in TENSORS)


@pytest.mark.parametrize("seed", range(4))
def test_no_flipped_bit_is_taken_for_a_weight(tmp_path: Path, seed: int) -> None:
    path, rng = tmp_path / "w.safetensors", np.random.default_rng(seed)
    save_checked(path, TENSORS)
    whole, noticed = path.read_bytes(), 0
    for _ in range(100):
        content = bytearray(whole)
        content[int(rng.integers(len(content)))] ^= 1 << int(rng.integers(8))
        path.write_bytes(content)
        try:
            found = load_checked(path)
        except UserError as error:
            noticed += 1
            assert "w.safetensors" in str(error) and "\n" not in str(error)
        else:
            assert all(torch.equal(found[name], TENSORS[name]) for name in TENSORS)
    assert noticed > 50


@pytest.mark.parametrize("content", [b"", b"\xff" * 40, b"no weights"])
def test_what_is_no_file_of_weights_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w.safetensors").write_bytes(content)
    with pytest.raises(UserError, match=r"w\.safetensors is damaged"):
        load_checked(tmp_path / "w.safetensors")
    with pytest.raises(UserError, match="does not exist"):
        load_checked(tmp_path / "gone.safetensors")


def test_a_file_without_checksum_is_read(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / "w.safetensors")
    assert load_checked(tmp_path / "w.safetensors")["a"].tolist() == [1, 1]
