"""The latent cache: what an encoder gave is read back, and an interruption costs one file."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from worldeval.data import latent_cache
from worldeval.data.finding import DataError
from worldeval.data.latent_cache import (
    LatentCache,
    build_cache,
    decoded_psnr,
    encode_frames,
    precomputed,
)
from worldeval.data.source import Head, Rows, Source, SourceSpec, open_source
from worldeval.errors import UserError


class Grey(Source):
    """Frames of one grey each: episode times ten plus frame."""

    def __init__(self, *lengths: int) -> None:
        self.spec = SourceSpec(
            format="memory",
            path=Path("memory"),
            fps=5.0,
            views={"top": (4, 4), "wrist": (4, 4)},
            action_names=("a",),
            pose_names=("x",),
        )
        self.findings = []
        self.heads = [
            Head(id=str(i), length=n, task="t", success=True) for i, n in enumerate(lengths)
        ]

    def rows(self, index: int) -> Rows:
        zeros = np.zeros((self.heads[index].length, 1), np.float32)
        return Rows(actions=zeros, pose=zeros)

    def frames(self, index: int, view: str, rows=None):
        rows = np.arange(self.heads[index].length) if rows is None else rows
        value = 10 * index + rows + 100 * (view == "wrist")
        return np.tile(value[:, None, None, None], (1, 4, 4, 3)).astype(np.uint8)


def encode(frames, task: str):
    means = [frames[view].mean(axis=(1, 2, 3)) for view in ("top", "wrist")]
    return np.stack(means, axis=1)[:, :, None, None, None] / 10


def decode(latents, task: str):
    grey = (latents[:, :, 0, 0, 0] * 10).round().astype(np.uint8)
    return {
        view: np.tile(grey[:, i, None, None, None], (1, 4, 4, 3))
        for i, view in enumerate(("top", "wrist"))
    }


LATENTS = encode_frames(encode, ("top", "wrist"))


def build(source: Source, out: Path, **options) -> None:
    build_cache(source, out, LATENTS, encoder="grey", views=("top", "wrist"), **options)


@pytest.fixture(autouse=True)
def two_to_a_file(monkeypatch) -> None:
    """As many frames as the first two episodes have, in all of these datasets."""
    monkeypatch.setattr(latent_cache, "FILES", 1)
    monkeypatch.setattr(latent_cache, "FRAMES", 7)


def test_latents_of_any_frame_of_any_episode(tmp_path: Path) -> None:
    build(Grey(3, 4, 5), tmp_path)
    cache = LatentCache(tmp_path)
    assert len(cache) == 3
    assert cache.latents(2).shape == (5, 2, 1, 1, 1)
    got = cache.latents(1, np.array([3, 0]))
    assert got[:, :, 0, 0, 0].astype(float) == pytest.approx(
        np.array([[1.3, 11.3], [1, 11]]), abs=1e-2
    )


def test_latents_that_lie_otherwise_in_memory_are_the_same(tmp_path: Path) -> None:
    def turned(source: Source, index: int) -> np.ndarray:
        """As a network gives them whose channels lie last."""
        values = np.arange(source.heads[index].length * 2 * 3 * 4 * 5, dtype=np.float32)
        return np.moveaxis(values.reshape(-1, 2, 4, 5, 3), -1, 2) / 8

    source = Grey(3, 4)
    build_cache(source, tmp_path, turned, encoder="turned", views=("top", "wrist"))
    assert np.array_equal(LatentCache(tmp_path).latents(1), turned(source, 1))


def test_decoding_a_sample_tells_whether_they_belong_together(tmp_path: Path) -> None:
    source, rng = Grey(3, 4, 5), np.random.default_rng
    build(source, tmp_path)
    cache = LatentCache(tmp_path)
    assert decoded_psnr(source, cache, decode, frames=20, rng=rng(0)) > 60
    reordered = Grey(5, 4, 3)
    cache._begin = cache._begin[::-1]
    cache.lengths = cache.lengths[::-1]
    assert decoded_psnr(reordered, cache, decode, frames=20, rng=rng(0)) < 30


def test_an_interruption_is_continued_with_the_missing_file(tmp_path: Path) -> None:
    encoded = []

    def watched(source: Source, index: int):
        encoded.append(index)
        if index == 3 and encoded.count(3) == 1:
            raise KeyboardInterrupt
        return LATENTS(source, index)

    def run() -> None:
        source = Grey(3, 4, 5, 2, 2)
        build_cache(source, tmp_path, watched, encoder="grey", views=("top", "wrist"))

    with pytest.raises(KeyboardInterrupt):
        run()
    with pytest.raises(
        DataError,
        match=r"latents-00001\.safetensors: latents: it is not a "
        "complete",
    ):
        LatentCache(tmp_path)
    run()
    assert encoded == [0, 1, 2, 3, 2, 3, 4]
    assert len(LatentCache(tmp_path)) == 5


def test_two_processes_share_the_files(tmp_path: Path) -> None:
    source = Grey(3, 4, 5, 2, 2)
    build(source, tmp_path, process=1, processes=2)
    assert [path.name for path in tmp_path.glob("*.safetensors")] == ["latents-00001.safetensors"]
    build(source, tmp_path, process=0, processes=2)
    assert len(LatentCache(tmp_path)) == 5


def test_another_encoder_or_a_cut_file_is_refused(tmp_path: Path) -> None:
    build(Grey(3), tmp_path)
    with pytest.raises(UserError, match="other episodes or of another encoder"):
        build(Grey(4), tmp_path)
    file = tmp_path / "latents-00000.safetensors"
    file.write_bytes(file.read_bytes()[:-2])
    with pytest.raises(DataError, match="not a complete file of latents"):
        LatentCache(tmp_path)


def test_data_that_moved_are_the_same_data(tmp_path: Path) -> None:
    build(Grey(3, 4, 5), tmp_path)
    (tmp_path / "latents-00001.safetensors").unlink()
    moved = Grey(3, 4, 5)
    moved.spec = replace(moved.spec, path=Path("elsewhere"))
    build(moved, tmp_path)
    assert len(LatentCache(tmp_path)) == 3
    moved.heads[2] = replace(moved.heads[2], id="another episode")
    with pytest.raises(UserError, match="other episodes or of another encoder"):
        build(moved, tmp_path)


def test_latents_that_real_data_bring(droid: Path, tmp_path: Path) -> None:
    source = open_source(droid)
    source.heads = source.heads[:2]
    views = tuple(source.spec.views)
    build_cache(source, tmp_path, precomputed(views), encoder="svd", views=views)
    kept = LatentCache(tmp_path).latents(1, np.array([40]))
    assert kept.shape == (1, 3, 4, 24, 40)
    wrist = source.latents(1)["wrist"][40].astype(np.float16)
    assert np.array_equal(kept[0, 2], wrist)
