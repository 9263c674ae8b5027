"""Cache of a dataset's latents, encoded once and then read from a memory map.

    <out>/cache.json  latents-00000.safetensors  latents-00001.safetensors ...
          tokenizer.safetensors, if a world model's tokenizer encoded them

A file holds a few whole episodes and appears only when complete. An interrupted encoding continues
with the missing files, and each of n processes writes every n-th file.
"""

import json
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from worldeval.axes import Array, Float, Float16, Int, UInt8
from worldeval.config import build_known
from worldeval.data.finding import DataError
from worldeval.data.source import Source
from worldeval.errors import UserError
from worldeval.files import read_json, read_object, whole_file, write_json
from worldeval.written import safetensors_written

PER_FILE = 16  # episodes
BATCH = 64  # frames of a view encoded at a time
TENSOR, LENGTHS, CARD = "latents", "lengths", "cache.json"

# Frames of one moment per view, and their task -> latents of every view.
Encode = Callable[[Mapping[str, UInt8[Array, "n h w 3"]], str], Float[Array, "n v d h w"]]
Decode = Callable[[Float[Array, "n v d h w"], str], Mapping[str, UInt8[Array, "n h w 3"]]]


def encode_frames(encode: Encode, views: Sequence[str]) -> Callable[[Source, int], Array]:
    """Build a function that encodes the frames of an episode, one batch at a time."""

    def latents(source: Source, index: int) -> Float[Array, "t v d h w"]:
        head, parts = source.heads[index], []
        for begin in range(0, head.length, BATCH):
            rows = np.arange(begin, min(begin + BATCH, head.length))
            frames = {view: source.frames(index, view, rows) for view in views}
            parts.append(encode(frames, head.task))
        return np.concatenate(parts)

    return latents


def precomputed(views: Sequence[str]) -> Callable[[Source, int], Array]:
    """Build a function that reads precomputed latents, up to the end of the shortest view."""

    def latents(source: Source, index: int) -> Float[Array, "t v d h w"]:
        own = source.latents(index)
        frames = min(source.heads[index].length, *(len(own[view]) for view in views))
        return np.stack([own[view][:frames] for view in views], axis=1)

    return latents


def build_cache(
    source: Source,
    out: Path,
    latents: Callable[[Source, int], Array],
    *,
    encoder: str,
    views: Sequence[str],
    tokenizer: Mapping[str, Any] | None = None,
    process: int = 0,
    processes: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write the missing files that are assigned to this process.

    Args:
        latents: function that returns an episode's latents (t, v, d, h, w); t may be less than its
            length.
        encoder: description of the encoder; a folder made by another one is refused.
        tokenizer: facts about the tokenizer needed for training (see world/tokenizer/given.py).
        progress: called with (files done, all files) of this process.
    """
    card = {
        "encoder": encoder,
        "source": str(source.spec.path),
        "views": list(views),
        "tokenizer": None if tokenizer is None else dict(tokenizer),
        "episodes": [{"id": head.id, "length": head.length} for head in source.heads],
        "per_file": PER_FILE,
    }
    kept = out / CARD
    # Data may move between two runs; which episodes they are may not change.
    if kept.is_file() and {**card, "source": ""} != {**read_json(kept), "source": ""}:
        raise UserError(
            f"{out} contains latents of other episodes or of another encoder. Remove it, or give "
            "another folder."
        )
    if not kept.is_file():
        write_json(kept, card)
    files = range(process, -(-len(source) // PER_FILE), processes)
    for done, number in enumerate(files):
        path = _path(out, number)
        if not path.is_file():
            episodes = range(number * PER_FILE, min((number + 1) * PER_FILE, len(source)))
            parts = [latents(source, index) for index in episodes]
            joined = np.concatenate(parts)
            if not np.isfinite(joined).all():
                raise UserError(f"The encoder returned non-finite values for {path.name}.")
            # safetensors writes the bytes as they lie, and calls them rows in order.
            rows = np.ascontiguousarray(joined, np.float16)
            with whole_file(path) as draft, safetensors_written(draft):
                lengths = np.array([len(part) for part in parts], np.int64)
                save_file({TENSOR: rows, LENGTHS: lengths}, draft)
        if progress is not None:
            progress(done + 1, len(files))


def is_whole(out: Path) -> bool:
    """Return whether all files of a cache exist."""
    if not (out / CARD).is_file():
        return False
    card = _card(out)
    count = -(-len(card.episodes) // card.per_file)
    return all(_path(out, number).is_file() for number in range(count))


@dataclass(frozen=True, kw_only=True)
class _CachedEpisode:
    id: str
    length: int


@dataclass(frozen=True, kw_only=True)
class _Card:
    """The content of `cache.json`."""

    encoder: str
    views: tuple[str, ...]
    episodes: tuple[_CachedEpisode, ...]
    per_file: int
    source: str = ""
    tokenizer: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.per_file < 1 or any(one.length < 1 for one in self.episodes):
            raise ValueError("an episode without frames, or a file without episodes. Encode again")


def _card(out: Path) -> _Card:
    return build_known(_Card, read_object(out / CARD), where=str(out / CARD))


@dataclass(frozen=True, kw_only=True)
class _Place:
    map: Float16[Array, "n v d h w"]
    begin: int
    length: int


class LatentCache:
    """A complete cache, read lazily."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.card: dict[str, Any] = read_object(path / CARD)
        card = _card(path)
        episodes, per_file = card.episodes, card.per_file
        self.views, self.encoder = card.views, card.encoder
        self.tokenizer: Mapping[str, Any] | None = card.tokenizer
        self.episodes = [(one.id, one.length) for one in episodes]
        self.maps: list[Float16[Array, "n v d h w"]] = []  # file by file
        self._places: list[_Place] = []
        for number in range(-(-len(episodes) // per_file)):
            whole = [length for _, length in self.episodes[number * per_file :][:per_file]]
            file, begin = _path(path, number), 0
            mapped, kept = _map(file, TENSOR, np.float16), _map(file, LENGTHS, np.int64)
            lengths = whole if kept is None else kept.tolist()
            if mapped is None or len(lengths) != len(whole) or len(mapped) != sum(lengths):
                raise DataError(
                    file, TENSOR, "its frames do not match its episodes. Remove the file and "
                    "encode again."
                )  # fmt: skip
            self.maps.append(mapped)
            for length in lengths:
                self._places.append(_Place(map=mapped, begin=begin, length=length))
                begin += length

    @property
    def files(self) -> list[Path]:
        """Return the files of latents, in order."""
        return [_path(self.path, number) for number in range(len(self.maps))]

    @property
    def lengths(self) -> Int[Array, " e"]:
        """Return the number of frames with latents of every episode."""
        return np.array([place.length for place in self._places], np.int64)

    def __len__(self) -> int:
        return len(self._places)

    def latents(
        self, index: int, rows: Int[Array, " n"] | None = None
    ) -> Float16[Array, "n v d h w"]:
        """Read the latents of an episode, for all frames or those at `rows`."""
        place = self._places[index]
        wanted = np.arange(place.length) if rows is None else np.asarray(rows)
        if len(wanted) and not (wanted.min() >= 0 and wanted.max() < place.length):
            raise IndexError(f"episode {index} has {place.length} frames, not {wanted.max()}")
        return place.map[place.begin + wanted]


def decoded_psnr(
    source: Source, cache: LatentCache, decode: Decode, *, frames: int, rng: np.random.Generator
) -> float:
    """Compute the PSNR in dB of sampled frames decoded from the cache, to verify the latents."""
    squares, count = 0.0, 0
    for index in rng.integers(0, len(source), frames).tolist():
        head = source.heads[index]
        row = rng.integers(0, head.length, 1)
        drawn = decode(cache.latents(index, row).astype(np.float32), head.task)
        for view in cache.views:
            true = source.frames(index, view, row).astype(np.float64)
            squares += float(((true - drawn[view]) ** 2).sum())
            count += true.size
    return float(10 * np.log10(255**2 / max(squares / count, 1e-12)))


def _map(path: Path, tensor: str, dtype: type) -> Any:
    """Map a tensor of a safetensors file into memory, at the offset in its header."""
    try:
        with path.open("rb") as file:
            (size,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(min(size, 1 << 20)))
        if tensor not in header:
            return None
        facts = header[tensor]
        begin = 8 + size + int(facts["data_offsets"][0])
        # A plain array over the map: memmap's own class makes small reads slow.
        return np.asarray(np.memmap(path, dtype, "r", begin, tuple(facts["shape"])))
    except (OSError, ValueError, LookupError, TypeError, struct.error, OverflowError) as error:
        raise DataError(
            path, tensor, f"it is not a complete file of latents ({error}).", "Encode again."
        ) from error


def _path(out: Path, number: int) -> Path:
    return out / f"latents-{number:05d}.safetensors"
