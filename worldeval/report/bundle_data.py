# pandas types a cell as anything that a table may hold.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
"""The numbers of a bundle, as JSON: the ranking, every episode in columns, and the caveats.

Paths of the machine on which the run was made are left out.
"""

import re
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

import pandas as pd

from worldeval.report.contents import FURTHER, MEASURES, ReportContents
from worldeval.report.filter import signal_label
from worldeval.report.number import shown
from worldeval.report.protocol import protocol
from worldeval.report.table import worst_cells
from worldeval.report.words import headline, needed, separation
from worldeval.runs.episodes import EpisodeTable
from worldeval.runs.films import Filmstrip
from worldeval.stats import Estimate

DIGITS = 4  # of probabilities
FOLDERS = re.compile(
    r"(?<![\w.])(?:[A-Za-z]:)?(?:[/\\][^\s/\\,;:]+)+[/\\](?=[^\s/\\,;:])"
)  # of a full path


def bundle_data(
    contents: ReportContents,
    episodes: EpisodeTable,
    *,
    strips: Mapping[str, Filmstrip],
    files: Mapping[str, str],
    lengths: Mapping[str, int],
) -> dict[str, Any]:
    """Return everything that the page shows.

    Args:
        strips: film strip of each filmed episode, by the episode's id.
        files: its path in the bundle, without suffix.
        lengths: its number of frames.
    """
    said = headline(contents)
    return {
        "name": contents.name,
        "verdict": said.verdict,
        "refused": said.refused,
        "sentences": list(said.sentences),
        "level": contents.level,
        "side": contents.compared.label,
        "adjective": contents.compared.adjective,
        "source": contents.compared.source,
        "hasTruth": contents.has_truth,
        "refusals": [{"text": each.text, "code": each.code} for each in contents.refusals],
        "warnings": [{"text": each.text, "code": each.code} for each in contents.warnings],
        "policies": _policies(contents),
        "tasks": _tasks(contents),
        "duels": [
            {
                "first": duel.first,
                "second": duel.second,
                "difference": _estimate(duel.difference),
                "separated": bool(duel.separated),
                "needed": needed(duel).strip(),
            }
            for duel in contents.duels
            if duel.difference.known
        ],
        "separation": separation(contents.duels, level=contents.level),
        "agreement": _agreement(contents),
        "gates": [
            {
                "title": gate.title,
                "meaning": gate.meaning,
                "value": shown(gate.value),
                "threshold": gate.threshold,
                "passed": gate.passed,
            }
            for gate in contents.gates
        ],
        "facts": _facts(contents),
        "damaged": [_local(problem) for problem in episodes.damaged],
        "episodes": _episodes(episodes, strips, files, lengths),
    }


def _policies(contents: ReportContents) -> list[dict[str, Any]]:
    worst = worst_cells(contents.tasks)
    rows = []
    for row in contents.rows:
        found = worst.get(row.policy)
        rows.append(
            {
                "rank": row.rank,
                "policy": row.policy,
                "predicted": _estimate(row.predicted),
                "measured": _estimate(row.truth),
                "letters": row.letters,
                "best": _number(row.probability_best),
                "worst": {"task": found[0], "predicted": _estimate(found[1].predicted)}
                if found
                else None,
            }
        )
    return rows


def _tasks(contents: ReportContents) -> list[dict[str, Any]]:
    return [
        {
            "task": task.task,
            "starts": task.starts,
            "predicted": _number(task.predicted),
            "measured": _number(task.truth),
            "optimism": _number(task.bias),
            "cells": {
                cell.policy: [_estimate(cell.predicted), _estimate(cell.truth)]
                for cell in task.cells
            },
        }
        for task in contents.tasks
    ]


def _agreement(contents: ReportContents) -> dict[str, Any]:
    names = contents.measures
    return {
        "measures": [MEASURES[name] for name in names],
        "rows": [
            {
                "name": each.name,
                "values": [
                    shown(each.measures[name]) if name in each.measures else "" for name in names
                ],
            }
            for each in contents.evaluators
        ],
        "further": [[FURTHER[name], shown(value)] for name, value in contents.further.items()],
    }


def _facts(contents: ReportContents) -> list[list[str]]:
    """Return the protocol and what made the run, without paths."""
    facts = contents.facts
    told = [[name, _local(value)] for name, value in protocol(contents) if name != "Policies"]
    for title, value in (
        ("Seed", facts.seed),
        ("Commit", facts.commit),
        ("worldeval", facts.worldeval),
        ("Python", facts.python),
    ):
        told += [[title, str(value)]] if value is not None else []
    told += [
        [f"World model, {name}", value]
        for name, value in contents.world.items()
        if name != "folder"
    ]
    return told


def _episodes(
    episodes: EpisodeTable,
    strips: Mapping[str, Filmstrip],
    files: Mapping[str, str],
    lengths: Mapping[str, int],
) -> dict[str, Any]:
    """Return every episode, column by column; names are numbers in lists."""
    table = episodes.table
    out: dict[str, Any] = {"id": table["id"].tolist(), "seed": table["seed"].astype(int).tolist()}
    for column, every in (("policy", "policies"), ("task", "tasks"), ("start", "starts")):
        codes, names = pd.factorize(table[column])
        out[column], out[every] = codes.tolist(), [str(name) for name in names]
    out["score"] = _numbers(table["score"])
    out["real"] = [None if pd.isna(value) else int(value) for value in table["real"].tolist()]
    out["signals"] = {signal_label(name): _numbers(table[name]) for name in episodes.signals}
    out["films"] = {
        name: {
            "file": files[name],
            "frames": lengths[name],
            "evidence": [_number(value) for value in strip.evidence],
            "measured": strip.truth is not None,
        }
        for name, strip in strips.items()
    }
    return out


def _estimate(estimate: Estimate | None) -> list[float | None] | None:
    """Return value, low and high."""
    if estimate is None or not estimate.known:
        return None
    return [_number(each) for each in (estimate.value, estimate.low, estimate.high)]


def _local(text: str) -> str:
    """Shorten full paths to their last name: they tell of the machine, not of the run."""
    return FOLDERS.sub("", text)


def _numbers(column: Sequence[Any] | pd.Series) -> list[float | None]:
    return [_number(value) for value in list(column)]


def _number(value: Any) -> float | None:
    return None if value is None or not isfinite(value) else round(float(value), DIGITS)
