# pandas types a cell as anything that a table may hold.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportReturnType=false
"""Table of all imagined episodes of a run, built without reading any frames.

It is read from the files present so far: the batches that a running evaluation appends, the table
of imagined outcomes if there is one, and the measured outcomes.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from worldeval.errors import UserError
from worldeval.runs.films import Filmstrip
from worldeval.runs.paths import IMAGINED, TRUTH, RunPaths
from worldeval.runs.store import EpisodeFacts, RolloutStore
from worldeval.runs.tables import KEY as NAMES
from worldeval.runs.tables import read_side

CUT = 0.5  # probability from which an imagined episode counts as a success
KEY = [*NAMES]
GUESSED = ("seed", "score")  # columns that have a fallback
# Columns that are not trust signals; all others hold one number per episode.
PLAIN = (*KEY, "id", "lineage", "step", "score", "reached", "real", "frames", "file", "row")


@dataclass(frozen=True, kw_only=True)
class EpisodeTable:
    """The table of episodes, and the problems met while reading it.

    Columns: id, policy, task, start, seed, score (probability of success), reached (frame), real
    (measured outcome: 1, 0 or NaN), file and row (location of its arrays; '' and -1 if only the
    outcome is known), and a column for each trust signal.
    """

    table: pd.DataFrame
    damaged: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.table)

    @property
    def signals(self) -> tuple[str, ...]:
        """Names of the trust signals stored per episode."""
        names = [str(name) for name in self.table.columns if name not in PLAIN]
        return tuple(name for name in names if pd.api.types.is_numeric_dtype(self.table[name]))

    def place(self, identity: str) -> int | None:
        """Return the row of the episode with this id; None if there is none."""
        found = np.flatnonzero(self.table["id"].to_numpy() == identity)
        return int(found[0]) if len(found) else None


def identity(policy: str, task: str, start: str, seed: int) -> str:
    """Return the id of an episode, as used in links."""
    own = start if start.startswith(task) else f"{task}/{start}"
    return f"{policy}/{own}/{seed}"


def read_episodes(folder: Path) -> EpisodeTable:
    """Read the episodes of a run folder, in the order in which they were stored.

    Raises:
        UserError: a table of outcomes cannot be read or lacks a column.
    """
    stored, damaged = _stored(RolloutStore(RunPaths(folder).imagined))
    judged = _table(folder, IMAGINED, [*KEY, "score"])
    if judged is not None:
        known = judged.merge(stored[[*KEY, "file", "row"]], on=KEY, how="left")
        keys = pd.MultiIndex.from_frame(judged[KEY])
        newer = stored[~pd.MultiIndex.from_frame(stored[KEY]).isin(keys)]
        table = pd.concat([known, newer], ignore_index=True) if len(newer) else known
    else:
        table = stored
    table = table.assign(file=table["file"].fillna(""), row=table["row"].fillna(-1).astype(int))
    real = _table(folder, TRUTH, ["policy", "task", "start", "success"])
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
    """Map the ids of episodes to their film strips, for episodes that have one."""
    known = set(episodes.table["id"].tolist())  # iterating a column takes ten times longer
    found = {identity(*strip.key): strip for strip in strips}
    return {name: strip for name, strip in found.items() if name in known}


def _stored(store: RolloutStore) -> tuple[pd.DataFrame, list[str]]:
    rows: list[dict[str, Any]] = []
    damaged: list[str] = []
    for path in store.files():
        try:
            facts = store.facts(path)
        except UserError as error:
            damaged.append(str(error))
        else:
            rows += [_row(fact, path.name, place) for place, fact in enumerate(facts)]
    columns = [*KEY, "score", "reached", "file", "row"]
    if not rows:
        return pd.DataFrame(columns=columns), damaged
    # Shards of a run may overlap: an episode counts once, in the first file that holds it.
    return pd.DataFrame(rows).drop_duplicates(KEY, ignore_index=True), damaged


def _row(fact: EpisodeFacts, file: str, place: int) -> dict[str, Any]:
    return {
        "policy": fact.policy,
        "task": fact.task,
        "start": fact.start,
        "seed": fact.seed,
        "score": fact.probability,
        "reached": fact.step,
        **({} if fact.progress is None else {"progress": fact.progress}),
        "disagreement": max(fact.votes) - min(fact.votes) if fact.votes else 0.0,
        # The name used in `outcomes/imagined.csv`.
        **{("mended" if name == "mended_actions" else name): v for name, v in fact.trust.items()},
        "file": file,
        "row": place,
    }


def _table(run: Path, side: str, needed: list[str]) -> pd.DataFrame | None:
    if not RunPaths(run).outcomes(side).is_file():
        return None
    table = read_side(run, side, needed=tuple(name for name in needed if name not in GUESSED))
    if "seed" in needed and "seed" not in table:
        table["seed"] = 0
    if "score" in needed and "score" not in table and "success" in table:
        table = table.rename(columns={"success": "score"})
    if missing := [name for name in needed if name not in table]:
        path = RunPaths(run).outcomes(side)
        raise UserError(f"{path} has no column {', '.join(missing)}.")
    return table
