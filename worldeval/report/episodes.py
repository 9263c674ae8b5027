# pandas types a cell as anything that a table may hold.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportReturnType=false
"""Every imagined episode of a run as one table, without reading a frame of it.

It is read from what a run has left so far: batches that a running evaluation appends, its outcomes
once there are any, and the real outcomes beside them.
"""

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from worldeval.errors import UserError
from worldeval.report.contents import OUTCOMES
from worldeval.report.filmstrip import Filmstrip
from worldeval.report.pairs import CUT

STORE = "imagined"
KEY = ["policy", "task", "start", "seed"]
# What is not a signal of trust among the columns; the others are numbers told of every episode.
PLAIN = (*KEY, "id", "lineage", "step", "score", "reached", "real", "frames", "file", "row")


@dataclass(frozen=True, kw_only=True)
class EpisodeTable:
    """The table, and what could not be read.

    Columns: id, policy, task, start, seed, score (probability of success), reached (frame), real
    (1, 0 or NaN), file and row (where its arrays lie, '' and -1 where only its outcome is known),
    and a column for each trust signal.
    """

    table: pd.DataFrame
    damaged: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.table)

    @property
    def signals(self) -> tuple[str, ...]:
        """The trust signals that were kept of whole episodes."""
        names = [str(name) for name in self.table.columns if name not in PLAIN]
        return tuple(name for name in names if pd.api.types.is_numeric_dtype(self.table[name]))

    def place(self, identity: str) -> int | None:
        """The row of an episode's id; None where there is none of that name."""
        found = np.flatnonzero(self.table["id"].to_numpy() == identity)
        return int(found[0]) if len(found) else None


def identity(policy: str, task: str, start: str, seed: int) -> str:
    """An episode's name in links."""
    own = start if start.startswith(task) else f"{task}/{start}"
    return f"{policy}/{own}/{seed}"


def read_episodes(folder: Path) -> EpisodeTable:
    """The episodes of a run folder, in the order in which they were kept.

    Raises:
        UserError: a table of outcomes cannot be read or lacks a column.
    """
    stored, damaged = _stored(folder / STORE)
    judged = _table(folder / OUTCOMES["imagined"], [*KEY, "score"])
    if judged is not None:
        known = judged.merge(stored[[*KEY, "file", "row"]], on=KEY, how="left")
        keys = pd.MultiIndex.from_frame(judged[KEY])
        newer = stored[~pd.MultiIndex.from_frame(stored[KEY]).isin(keys)]
        table = pd.concat([known, newer], ignore_index=True) if len(newer) else known
    else:
        table = stored
    table = table.assign(file=table["file"].fillna(""), row=table["row"].fillna(-1).astype(int))
    real = _table(folder / OUTCOMES["truth"], ["policy", "task", "start", "success"])
    if real is None:
        table["real"] = np.nan
    else:
        mean = real.groupby(["policy", "task", "start"], as_index=False)["success"].mean()
        mean = mean.rename(columns={"success": "real"})
        mean["real"] = (mean["real"] >= CUT).astype(float)
        table = table.merge(mean, on=["policy", "task", "start"], how="left")
    keys = zip(*(table[name].tolist() for name in KEY), strict=True)
    table.insert(0, "id", [identity(*key) for key in keys])
    return EpisodeTable(table=table, damaged=tuple(damaged))


def filmed(episodes: EpisodeTable, strips: tuple[Filmstrip, ...]) -> dict[str, Filmstrip]:
    """The film strip of every episode that has one, by the episode's id."""
    known = set(episodes.table["id"].tolist())  # iterating a column takes ten times longer
    found = {identity(*strip.key): strip for strip in strips}
    return {name: strip for name, strip in found.items() if name in known}


def facts(path: Path) -> list[dict[str, Any]]:
    """What a batch of the run store says of its roll-outs.

    Raises:
        UserError: the file is no batch of roll-outs.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            found = json.loads(str(file["facts"]))
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is no readable batch of roll-outs: {error}") from error
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise UserError(f"{path} is no readable batch of roll-outs: its facts are no list.")
    return found


def batches(folder: Path) -> list[Path]:
    """The batches of a run store; links that leave it are not followed."""
    if not folder.is_dir():
        return []
    real = folder.resolve()
    found = (path for path in sorted(folder.glob("[!.]*.npz")) if path.is_file())
    return [path for path in found if path.resolve().is_relative_to(real)]


def _stored(folder: Path) -> tuple[pd.DataFrame, list[str]]:
    rows: list[dict[str, Any]] = []
    damaged: list[str] = []
    for path in batches(folder):
        try:
            rows += [_row(fact, path.name, place) for place, fact in enumerate(facts(path))]
        except UserError as error:
            damaged.append(str(error))
        except (KeyError, TypeError, ValueError) as error:
            damaged.append(f"{path} lacks what every roll-out has: {error}")
    columns = [*KEY, "score", "reached", "file", "row"]
    if not rows:
        return pd.DataFrame(columns=columns), damaged
    # Shards of a run may overlap: an episode counts once, in whichever file it stands first.
    return pd.DataFrame(rows).drop_duplicates(KEY, ignore_index=True), damaged


def _row(fact: dict[str, Any], file: str, place: int) -> dict[str, Any]:
    votes = [float(vote) for vote in fact.get("votes") or ()]
    trust = {str(name): float(value) for name, value in (fact.get("trust") or {}).items()}
    return {
        "policy": str(fact["policy"]),
        "task": str(fact["task"]),
        "start": str(fact["start"]),
        "seed": int(fact["seed"]),
        "score": float(fact["probability"]),
        "reached": int(fact.get("step") or 0),
        "disagreement": max(votes) - min(votes) if votes else 0.0,
        # As `outcomes/imagined.csv` calls it.
        **{("mended" if name == "mended_actions" else name): v for name, v in trust.items()},
        "file": file,
        "row": place,
    }


def _table(path: Path, needed: list[str]) -> pd.DataFrame | None:
    if not path.is_file():
        return None
    texts = {name: str for name in ("policy", "task", "start", "lineage")}
    try:
        table = pd.read_csv(path, dtype=texts)
    except (ValueError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no readable table: {error}") from error
    if "seed" in needed and "seed" not in table:
        table["seed"] = 0
    if "score" in needed and "score" not in table and "success" in table:
        table = table.rename(columns={"success": "score"})
    missing = [name for name in needed if name not in table]
    if missing:
        raise UserError(f"{path} lacks the column {', '.join(missing)}.")
    return table
