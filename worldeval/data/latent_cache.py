"""Cache of a dataset's latents, encoded once and then read row by row from its files.

    <out>/cache.json  index.arrow  latents-00000.safetensors  latents-00001.safetensors ...
          tokenizer.safetensors, if a world model's tokenizer encoded them

`cache.json` says who encoded what, `index.arrow` lists the episodes and their files. A file holds
whole episodes with a checksum for every frame (row_files.py) and appears only when complete. An
interrupted encoding continues with the missing files, and each of n processes writes every n-th.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from worldeval.axes import Array, Float, Float16, Int, UInt8
from worldeval.config import build_known
from worldeval.data.arrow import read_table, write_table
from worldeval.data.finding import DataError
from worldeval.data.row_files import RowFiles, open_rows, write_rows
from worldeval.data.source import Source
from worldeval.errors import UserError
from worldeval.files import read_json, read_object, write_json

FILES = 64  # that a small dataset is divided into, so that processes can share the work
FRAMES = 16384  # in a file of a large dataset: 0.4 GB of DROID's three views
BATCH = 64  # frames of a view encoded at a time
TENSOR, LENGTHS = "latents", "lengths"
CARD, INDEX = "cache.json", "index.arrow"
FORMAT = 2  # of the files; 1 had no checksums, and listed the episodes in the card

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
        "format": FORMAT,
        "encoder": encoder,
        "source": str(source.spec.path),
        "views": list(views),
        "tokenizer": None if tokenizer is None else dict(tokenizer),
    }
    index = _index(source)
    _begin(out, card, index)
    files = _episodes_of(index)
    own = range(process, len(files), processes)
    for done, number in enumerate(own):
        path = _path(out, number)
        if not path.is_file():
            parts = [_half(latents(source, each), path) for each in files[number]]
            lengths = np.array([len(part) for part in parts], np.int64)
            write_rows(path, TENSOR, np.concatenate(parts), **{LENGTHS: lengths})
        if progress is not None:
            progress(done + 1, len(own))


def files_of(source: Source) -> int:
    """Return the number of files that hold a dataset's latents."""
    return len(_episodes_of(_index(source)))


def is_whole(out: Path) -> bool:
    """Return whether all files of a cache exist."""
    if not ((out / CARD).is_file() and (out / INDEX).is_file()):
        return False
    return all(_path(out, each).is_file() for each in range(len(_episodes_of(_read_index(out)))))


@dataclass(frozen=True, kw_only=True)
class _Card:
    """The content of `cache.json`."""

    encoder: str
    views: tuple[str, ...]
    format: int = 1
    source: str = ""
    tokenizer: Mapping[str, Any] | None = None


class LatentCache:
    """A complete cache, read lazily."""

    def __init__(self, path: Path) -> None:
        """
        Raises:
            UserError: it was written by an older version.
            DataError: a file is missing, cut off, or does not hold the frames of its episodes.
        """
        self.path = path
        card = build_known(_Card, read_object(path / CARD), where=str(path / CARD))
        _refuse_old(path, card.format)
        self.views, self.encoder, self.source = card.views, card.encoder, card.source
        self.tokenizer: Mapping[str, Any] | None = card.tokenizer
        self._index = _read_index(path)
        opened, lengths = [], []
        for number, episodes in enumerate(_episodes_of(self._index)):
            file = open_rows(_path(path, number), TENSOR, np.float16)
            own = file.vector(LENGTHS, np.int64)
            if len(own) != len(episodes) or len(file) != own.sum() or (own < 1).any():
                raise DataError(
                    file.path, TENSOR, "its frames do not match its episodes. Remove the file and "
                    "encode again."
                )  # fmt: skip
            opened.append(file)
            lengths.append(own)
        self.rows = RowFiles(opened)  # of all episodes, one after another
        # Number of frames with latents of every episode, and the row of the first one.
        self.lengths: Int[Array, " e"] = np.concatenate(lengths)
        self._begin = np.cumsum(self.lengths) - self.lengths

    @property
    def episodes(self) -> list[tuple[str, int]]:
        """Return the name and the number of recorded frames of every episode."""
        ids, counts = (self._index[name].to_pylist() for name in ("id", "length"))
        return list(zip(ids, counts, strict=True))

    @property
    def files(self) -> list[Path]:
        """Return the files of latents, in order."""
        return [file.path for file in self.rows.files]

    def __len__(self) -> int:
        return len(self.lengths)

    def latents(
        self, index: int, rows: Int[Array, " n"] | None = None
    ) -> Float16[Array, "n v d h w"]:
        """Read the latents of an episode, for all frames or those at `rows`."""
        length = int(self.lengths[index])
        wanted = np.arange(length) if rows is None else np.asarray(rows)
        if len(wanted) and not (wanted.min() >= 0 and wanted.max() < length):
            raise IndexError(f"episode {index} has {length} frames, not {wanted.max()}")
        return self.rows[self._begin[index] + wanted]


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


def _half(latents: Array, path: Path) -> Float16[Array, "t v d h w"]:
    if not np.isfinite(latents).all():
        raise UserError(f"The encoder returned non-finite values for {path.name}.")
    # Latents are standardised, and of such numbers float16 keeps three bits more than bfloat16.
    return latents.astype(np.float16)


def _begin(out: Path, card: Mapping[str, Any], index: pa.Table) -> None:
    """Write the card and the index of a new cache, or compare them with those of an old one."""
    if (out / CARD).is_file():
        kept = read_json(out / CARD)
        _refuse_old(out, kept.get("format", 1) if isinstance(kept, dict) else 1)
        # Data may move between two runs; which episodes they are may not change.
        same = {**card, "source": ""} == {**kept, "source": ""}
        if not same or not _read_index(out).equals(index):
            raise UserError(
                f"{out} contains latents of other episodes or of another encoder. Remove it, or "
                "give another folder."
            )
        return
    write_table(out / INDEX, index)
    write_json(out / CARD, card)  # last: it says that the index is there


def _refuse_old(out: Path, format: int) -> None:
    if format != FORMAT:
        raise UserError(
            f"{out} was written by {'an older' if format < FORMAT else 'a newer'} version of "
            f"worldeval (format {format}; expected {FORMAT}). Remove it and encode again."
        )


def _index(source: Source) -> pa.Table:
    """The episodes with their lengths in frames, and the file that each belongs to."""
    lengths = np.array([head.length for head in source.heads], np.int64)
    most = int(np.clip(lengths.sum() // FILES, 1, FRAMES))
    # An episode belongs to the file in which its first frame would be, if files were full.
    file = (np.cumsum(lengths) - lengths) // most
    _, file = np.unique(file, return_inverse=True)  # an episode longer than a file skips some
    return pa.table(
        {"id": [head.id for head in source.heads], "length": lengths, "file": file.astype(np.int32)}
    )


def _episodes_of(index: pa.Table) -> list[range]:
    """The episodes of every file."""
    file = index["file"].to_numpy()
    begin = np.flatnonzero(np.diff(file, prepend=-1))
    return [range(a, b) for a, b in zip(begin, [*begin[1:], len(file)], strict=True)]


def _read_index(out: Path) -> pa.Table:
    path = out / INDEX
    try:
        table = read_table(path)
        file = table["file"].to_numpy()
        if table.schema.names != ["id", "length", "file"] or not len(file):
            raise ValueError(f"its columns are {', '.join(table.schema.names)}")
        if file[0] != 0 or not np.isin(np.diff(file), (0, 1)).all():
            raise ValueError("its files are not in order")
    except (OSError, ValueError, LookupError, pa.ArrowException) as error:
        raise DataError(
            path, "index", f"it is not a complete index of latents ({error}).", "Encode again."
        ) from error
    return table


def _path(out: Path, number: int) -> Path:
    return out / f"latents-{number:05d}.safetensors"
