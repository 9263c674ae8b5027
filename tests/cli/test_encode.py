"""`worldeval data encode --world`: the tokenizer's latents, from one process or two, resumed."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from worldeval.cli import app
from worldeval.data import latent_cache
from worldeval.data.formats.shards.layout import ShardEpisode, write_shard
from worldeval.data.latent_cache import LatentCache
from worldeval.errors import UserError
from worldeval.record import Episode
from worldeval.rollout.starts import read_starts
from worldeval.world.load import load_world

runner = CliRunner()
ROOT = Path(__file__).parents[2]
WORLD = ROOT / "models/latent"
EPISODES, FRAMES = 20, 2


def episodes() -> list[Episode]:
    """The pictures that protocols start from, each standing still for two frames."""
    starts = read_starts(ROOT / "evaluation/metaworld/starts.h5")
    return [
        Episode(
            id=start.id,
            frames={view: np.stack([image] * FRAMES) for view, image in start.frames.items()},
            actions=np.zeros((FRAMES, 20), np.float32),
            pose=np.stack([start.pose] * FRAMES),
            task=start.task,
            success=None,
            fps=16.0,
        )
        for start in starts[:: len(starts) // EPISODES][:EPISODES]
    ]


def shard(folder: Path, items: list[Episode]) -> Path:
    flags = np.zeros(FRAMES, np.uint8)
    write_shard(
        folder / "set.h5", [ShardEpisode(episode=one, flags=flags, seed=0) for one in items]
    )
    return folder


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    return shard(tmp_path_factory.mktemp("starts"), episodes())


def encode(dataset: Path, out: Path) -> dict:
    words = ["data", "encode", str(dataset), "--world", str(WORLD), "--out", str(out), "--json"]
    done = runner.invoke(app, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_the_tokenizers_latents_and_a_sample_decoded(dataset: Path, tmp_path: Path) -> None:
    said = encode(dataset, tmp_path)
    assert said["episodes"] == EPISODES
    assert said["decoded_psnr"] > 25  # decoded, they are the pictures that went in
    world, first = load_world(WORLD), episodes()[0]
    expected = world.encode(dict(first.frames), [first.task] * FRAMES).cpu().numpy()
    assert LatentCache(tmp_path).latents(0).astype(np.float32) == pytest.approx(expected, abs=5e-3)


def test_what_an_interruption_left_is_kept(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latent_cache, "FILES", 2)
    whole = encode(dataset, tmp_path)
    first, second = sorted(tmp_path.glob("latents-*.safetensors"))
    before, kept = LatentCache(tmp_path).latents(EPISODES - 1).copy(), first.stat().st_mtime_ns
    # What a process leaves that was stopped while it wrote the second file:
    draft = tmp_path / f".{second.stem}.1.part{second.suffix}"
    draft.write_bytes(second.read_bytes()[:100])
    second.unlink()
    assert encode(dataset, tmp_path) == whole
    assert first.stat().st_mtime_ns == kept
    assert np.array_equal(LatentCache(tmp_path).latents(EPISODES - 1), before)


def test_a_task_that_the_world_model_never_saw(tmp_path: Path) -> None:
    data = shard(tmp_path / "set", [replace(episodes()[0], task="drawer-opn-v3")])
    with pytest.raises(UserError, match=r"not trained on\. Did you mean 'drawer-open-v3'\?"):
        encode(data, tmp_path / "out")


@pytest.mark.slow
def test_two_processes_under_accelerate_give_what_one_does(dataset: Path, tmp_path: Path) -> None:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    words = ["data", "encode", dataset, "--world", WORLD, "--out", tmp_path / "two", "--json"]
    done = subprocess.run(
        [*launcher, "-m", "worldeval", *map(str, words)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)  # by one of them alone
    assert said == {**encode(dataset, tmp_path / "one"), "out": str(tmp_path / "two")}
    one, two = LatentCache(tmp_path / "one"), LatentCache(tmp_path / "two")
    for index in range(EPISODES):
        assert np.array_equal(one.latents(index), two.latents(index))
