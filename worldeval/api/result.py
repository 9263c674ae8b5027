# pandas types a cell as anything that a table may hold.
# pyright: reportCallIssue=false, reportReturnType=false
"""The result of a run as tables, a figure and text, from `rank` or `open_run`."""

import shutil
import weakref
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from worldeval.api import tables
from worldeval.errors import UserError
from worldeval.files import read_object
from worldeval.runs.paths import IMAGINED, TRUTH, RunPaths
from worldeval.runs.store import RolloutStore
from worldeval.runs.summary import Summary, find_summary
from worldeval.runs.tables import read_table
from worldeval.stats import Finding

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from worldeval.api.explain import WrittenExplanation
    from worldeval.record import Rollout, Verdict


class Result:
    """The result of a run: ranking, episodes, agreement with measured outcomes, gates, caveats.

    It is displayed as a table below its caveats, in a terminal and in a notebook.

    Attributes:
        folder: the run folder; for a result in memory, a temporary one (see `save`).
        errors: policy -> why some of its episodes have no outcome.
        stopped: why imagining ended, such as 'all done' or 'time is up'; None if unknown.
    """

    def __init__(
        self,
        folder: Path,
        *,
        temporary: bool = False,
        cards: pd.DataFrame | None = None,
        errors: Mapping[str, str] | None = None,
        stopped: str | None = None,
    ) -> None:
        self.folder, self.stopped = Path(folder), stopped
        self._cards = cards
        self._errors = errors
        self._removed = (
            weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
            if temporary
            else None
        )

    @cached_property
    def summary(self) -> Summary | None:
        """All numbers of the run; None if nothing was ranked yet."""
        return find_summary(self.folder)

    @property
    def paths(self) -> RunPaths:
        """The names of the run's files."""
        return RunPaths(self.folder)

    def to_json(self) -> dict[str, Any]:
        """The content of the run's summary.json.

        Raises:
            UserError: nothing was ranked yet.
        """
        return read_object(self.paths.summary)

    @property
    def errors(self) -> dict[str, str]:
        """Policy -> why some of its episodes have no outcome."""
        if self._errors is not None:
            return dict(self._errors)
        return dict(self.summary.errors) if self.summary else {}

    @cached_property
    def policies(self) -> pd.DataFrame:
        """One row per policy, best predicted first.

        Columns: rank, policy, lineage, step, predicted, low, high (the interval), tied_with (the
        policies that it is statistically tied with), tied_group (letters), p_best, episodes.

        If it is known how imagined rates relate to true rates, then predicted, low and high refer
        to the true rate, and imagined, imagined_low and imagined_high to the imagined one. If the
        policies were measured in the simulator or in real trials, there are also measured,
        measured_low and measured_high; if it is known, there is validation_mse.
        """
        summary = self.summary
        if summary is None or summary.ranking is None:
            return tables.rates(self.episodes)
        return tables.policies(summary, self._cards)

    @cached_property
    def episodes(self) -> pd.DataFrame:
        """One row per imagined episode: policy, lineage, step, task, start, seed, score (the
        predicted probability of success), reached, progress (how far it came at best, if the judge
        measures it), disagreement, mended (the share of clipped actions), and success if the
        episode was measured in the simulator or a real trial."""
        table = _table(self.folder, IMAGINED)
        if self.simulated.empty:
            return table
        key = ["policy", "task", "start"]
        real = self.simulated[[*key, "success"]].drop_duplicates(key)
        return table.merge(real, on=key, how="left")

    @cached_property
    def simulated(self) -> pd.DataFrame:
        """One row per simulated episode or real trial; empty if there are none."""
        return _table(self.folder, TRUTH)

    @property
    def headline(self) -> str | None:
        """The statement above the table if it must not be read as a ranking; otherwise empty."""
        return self.summary.caveat if self.summary else None

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What the numbers do not support; refusals first. Each has a code, severity and text."""
        return self.summary.all_findings if self.summary else ()

    @cached_property
    def agreement(self) -> pd.DataFrame | None:
        """Agreement of the predicted with the measured order and rates; None if nothing was
        measured. One row per measure: value, low, high, the ceilings, and the baselines."""
        return tables.agreement(self.summary) if self.summary else None

    @cached_property
    def gates(self) -> pd.DataFrame | None:
        """The gates, from replaying recorded episodes; None if none were replayed. One row per
        gate: value, low, high, episodes."""
        return tables.gates(self.summary) if self.summary else None

    def rollouts(self) -> "Iterator[tuple[Rollout, Verdict]]":
        """Iterate over imagined episodes (latents, actions, poses) and their verdicts."""
        return RolloutStore(self.paths.imagined).rollouts()

    def plot(self) -> "Figure":
        """Plot the policies with their intervals, and measured rates if there are any."""
        from worldeval.api.plot import plot_policies

        return plot_policies(self.policies, headline=self.headline)

    def explain(self, first: str, second: str, **options: Any) -> "WrittenExplanation":
        """Find where two policies part; see `worldeval.explain` for the options."""
        from worldeval.api.explain import explain

        return explain(self, first, second, **options)

    def save(self, folder: str | Path) -> Path:
        """Save the result to a run folder for `open_run`, the report and the viewer.

        Raises:
            UserError: the folder is not empty.
        """
        target = Path(folder)
        if target.resolve() == self.folder.resolve():
            return target
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise UserError(
                f"{target} is not empty. Save to a new folder, so that nothing is overwritten."
            )
        shutil.copytree(self.folder, target, dirs_exist_ok=True)
        if self._removed is not None:
            self._removed()  # the copy takes its place
            self._removed = None
        self.folder = target
        return target

    def __repr__(self) -> str:
        return tables.as_text(self)

    def _repr_html_(self) -> str:
        return tables.as_html(self)


def open_run(folder: str | Path) -> Result:
    """Open the run in a folder, made from Python or the command line.

    Args:
        folder: run folder of `rank`, `imagine` or `truth`.

    Returns:
        The result of the run.

    Raises:
        UserError: the folder does not exist, or has no result yet.

    >>> import worldeval as we
    >>> result = we.open_run("toy/run")
    >>> list(result.policies["policy"]) == [row.policy for row in result.summary.ranking.policies]
    True
    """
    path, paths = Path(folder), RunPaths(Path(folder))
    if not path.is_dir():
        raise UserError(f"There is no run folder {path}. Check the path.")
    held = (paths.summary, paths.outcomes(IMAGINED), paths.outcomes(TRUTH))
    if not any(each.is_file() for each in held):
        raise UserError(
            f"{path} has no result of a run yet. Create one with: worldeval rank ... --out {path}"
        )
    return Result(path)


def _table(folder: Path, side: str) -> pd.DataFrame:
    path = RunPaths(folder).outcomes(side)
    return read_table(path) if path.is_file() else pd.DataFrame()
