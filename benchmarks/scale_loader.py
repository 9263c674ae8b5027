"""Training on 95,000 episodes without their 200 GB: memory of a process, its start, its batches.

The episodes have DROID's shape: about 95 frames each at 5 frames per second, a pose of 10 numbers
and actions of as many, three views of 4 x 24 x 40 latents. Their kept index is real. Their latents
are files with holes, which have their full size and read as zeros but need no disk, so that the
rates are those of the loader on files that are in memory, not of a disk.
"""

import json
import resource
import struct
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scale_store import FRAME, FRAME_BYTES
from torch import Tensor

from worldeval import recipe as recipes
from worldeval.data import kept_index, latent_cache
from worldeval.data.arrow import read_table, write_table
from worldeval.data.finding import DataFinding
from worldeval.data.latent_cache import LatentCache
from worldeval.data.source import Head, Rows, Source, SourceSpec
from worldeval.data.table import RecordedEpisodes
from worldeval.errors import UserError
from worldeval.files import write_json
from worldeval.training.ahead import Ahead
from worldeval.world.dit.loss import sequence_of
from worldeval.world.dit.network import Sequence as DitSequence
from worldeval.world.hand.commands import actuation_of
from worldeval.world.protocol import ANY_TASK, WorldSpec
from worldeval.world.tokenizer.episodes import latent_episodes
from worldeval.world.training.windows import Windows

VIEWS = ("exterior_1", "exterior_2", "wrist")
WIDTH = 10  # numbers of a pose, and of an action
MARK = {"stamp": "drawn"}


class DrawnSource(Source):
    """Episodes with numbers that are drawn when they are read, and no pictures."""

    def __init__(self, episodes: int, seed: int) -> None:
        lengths = np.random.default_rng(seed).integers(50, 141, episodes).tolist()
        names = tuple(f"number_{k}" for k in range(WIDTH))
        self.spec = SourceSpec(format="drawn", path=Path("drawn"), fps=5.0,
                               views=dict.fromkeys(VIEWS, (192, 320)), action_names=names,
                               pose_names=names)  # fmt: skip
        self.findings: list[DataFinding] = []
        self.heads = [
            Head(id=f"episode-{k}", length=n, task=f"instruction {k}", success=k % 3 > 0)
            for k, n in enumerate(lengths)
        ]

    def rows(self, index: int) -> Rows:
        rng, shape = np.random.default_rng(index), (self.heads[index].length, WIDTH)
        return Rows(actions=rng.random(shape, np.float32), pose=rng.random(shape, np.float32))

    def frames(self, index: int, view: str, rows: Any = None) -> Any:
        raise UserError("Drawn episodes have no pictures.")

    def has_latents(self, index: int) -> bool:
        return True


def write(place: Path, *, episodes: int, seed: int) -> None:
    """Write the kept index and the files of latents with holes."""
    source = DrawnSource(episodes, seed)
    kept = kept_index._keep(place / "index", MARK["stamp"], source)
    for index in range(len(kept)):  # read in order, and so kept
        kept.rows(index)
    cache, index = place / "latents", latent_cache._index(source)
    write_table(cache / latent_cache.INDEX, index)
    facts = {"format": latent_cache.FORMAT, "encoder": "drawn", "source": "drawn",
             "views": list(VIEWS), "tokenizer": None}  # fmt: skip
    write_json(cache / latent_cache.CARD, facts)
    for number, each in enumerate(latent_cache._episodes_of(index)):
        own = [source.heads[k].length for k in each]
        _write_hollow(latent_cache._path(cache, number), own)


def _write_hollow(path: Path, lengths: Sequence[int]) -> None:
    count = sum(lengths)
    sums = np.full(count, zlib.crc32(bytes(FRAME_BYTES)), np.uint32).tobytes()
    own = np.array(lengths, np.int64).tobytes()
    ends = np.cumsum([0, len(own), len(sums), count * FRAME_BYTES]).tolist()
    kinds = (("lengths", "I64", [len(lengths)]), ("crc32", "U32", [count]),
             ("latents", "F16", [count, *FRAME]))  # fmt: skip
    header = json.dumps({
        name: {"dtype": kind, "shape": shape, "data_offsets": ends[k : k + 2]}
        for k, (name, kind, shape) in enumerate(kinds)
    }).encode()  # fmt: skip
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header + own + sums)
        file.truncate(8 + len(header) + ends[-1])


def measure(place: Path, *, batches: int, workers: Sequence[int], seed: int) -> dict[str, Any]:
    """Open the episodes as training does, and read batches of `dit-base`."""
    begin, base = time.perf_counter(), _memory("self")
    heads = read_table(place / "index" / kept_index.HEADS)
    source = kept_index.IndexedSource(place / "index", MARK, heads, lambda own: own)
    recorded = RecordedEpisodes([source])
    data = latent_episodes(recorded, [LatentCache(place / "latents")], (ANY_TASK,))
    recipe: Any = recipes.load("dit-base", "model").config
    spec = WorldSpec(views=VIEWS, size=(192, 320), latent=(4, 24, 40), action_dim=WIDTH,
                     pose_dim=WIDTH, tasks=(ANY_TASK,), fps=5.0)  # fmt: skip
    windows = Windows(data, actuation_of(recipe.actuation, spec))
    rows = data.draws(np.arange(len(data)), recipe.length - 1)
    started, cpu = time.perf_counter() - begin, time.process_time()

    def make(picked: Tensor) -> DitSequence:
        return sequence_of(windows, picked, recipe.length, recipe)

    out: dict[str, Any] = {
        "episodes": len(data), "frames": int(data.length.sum()), "start_s": started,
        "start_cpu_s": cpu, "memory_gib": {"before": base, "after_start": _memory("self")},
        "batch": recipe.trainer.batch, "readers": [],
    }  # fmt: skip
    for count in workers:
        generator = torch.Generator().manual_seed(seed)
        ahead = Ahead(
            lambda step, own=generator: rows(recipe.trainer.batch, own),
            make, generator, steps=batches + 20, workers=count,
        )  # fmt: skip
        for step in range(10):
            ahead(step)
        begin, cpu = time.perf_counter(), time.process_time()
        for step in range(10, 10 + batches):
            ahead(step)
        wall, spent = time.perf_counter() - begin, time.process_time() - cpu
        out["readers"].append({
            "workers": count, "batches_per_s": batches / wall,
            "cpu_ms_per_batch_here": 1e3 * spent / batches,
            "own_memory_of_workers_gib": [_memory(pid) for pid in _children()],
        })  # fmt: skip
        print(out["readers"][-1], flush=True)
        del ahead
    out["memory_gib"]["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return out


def _children() -> list[str]:
    return Path("/proc/self/task").joinpath(str(_pid()), "children").read_text().split()


def _pid() -> int:
    return int(Path("/proc/self").resolve().name)


def _memory(process: str) -> float:
    """Memory that this process does not share with others, GiB."""
    text = Path(f"/proc/{process}/smaps_rollup").read_text()
    fields = {line.split(":")[0]: line.split()[1] for line in text.splitlines()[1:]}
    return (int(fields["Private_Clean"]) + int(fields["Private_Dirty"])) / 2**20
