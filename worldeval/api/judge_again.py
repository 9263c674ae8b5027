"""Judge a finished run again, with another judge, a panel, or people's labels."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from urllib.parse import quote

import pandas as pd

from worldeval.api.live_progress import shown
from worldeval.api.load import Address
from worldeval.api.result import Result
from worldeval.errors import UserError
from worldeval.evaluate.develop import protocol
from worldeval.evaluate.imagined import outcomes
from worldeval.evaluate.rejudge import judge_again as write_again
from worldeval.evaluate.run import Evaluation, Watcher
from worldeval.judge.address import panel_of, read_judge_address
from worldeval.policy.address import refuse_code
from worldeval.policy.remote.tokens import name_hosts
from worldeval.runs.origin import read_facts
from worldeval.runs.paths import IMAGINED, TRUTH, RunPaths
from worldeval.runs.summary import read_summary
from worldeval.runs.tables import read_side, write_table


def judge_again(
    run: Address,
    judge: Address | Sequence[Address],
    out: Address,
    *,
    trust_code: bool = False,
    trust_pickle: bool = False,
    progress: bool | Watcher = True,
) -> Result:
    """Judge the imagined episodes of a finished run with another judge, and rank them anew.

    Nothing is imagined or simulated: episodes, starts and measured outcomes are those of `run`, so
    that judges are compared on the same episodes.

    Args:
        run: folder of a ranking run.
        judge: address of a judge (docs/judges.md); several make a panel; `human` are the labels
            that people gave in the viewer.
        out: folder for the new run. An interrupted command is continued.
        trust_code: read the cards of the run's policies that are Python code, which runs it.
        trust_pickle: the same for pickles.
        progress: whether to show progress, or a `Watcher`.

    Returns:
        The new ranking.

    Raises:
        UserError: `run` is no finished ranking, its episodes were chosen by its own judge's
            verdicts, or the judge does not fit.

    >>> import worldeval as we
    >>> result = we.judge_again("toy/run", "rule:frame > 1", "toy/again", progress=False)
    >>> result.findings[0].severity
    'refusal'
    """
    folder, given = Path(run), [judge] if isinstance(judge, str | Path) else list(judge)
    refs = [str(ref) for ref in given]
    name_hosts(refs)  # a token may be sent to a server that the caller names
    before, recipe = read_summary(folder), protocol(folder)
    if not trust_code:
        refuse_code(recipe.policies, RunPaths(folder).recipe, remedy="give --trust-code")
    if before.spent is not None:
        raise UserError(
            f"{folder} chose its episodes by the verdicts of its own judge (--allocate, "
            "--stop-when-separated or a budget), so another judge's intervals would be wrong. Rank "
            "with the other judge instead."
        )
    ref = panel_of(refs)
    if people := read_judge_address(ref).kind == "human":
        ref = f"human?labels={quote(str(RunPaths(folder).labels))}"  # part of its fingerprint
    recipe = replace(recipe, judge=ref)
    with shown(progress) as watch:
        progress_of = partial(watch.counting, "judging")
        without = write_again(folder, ref, Path(out), progress=progress_of)
        again = Evaluation(
            recipe=recipe,
            out=Path(out),
            seed=read_facts(Path(out)).seed or 0,
            processes=1,
            watch=watch,
            trust_pickle=trust_pickle,
        )
        again.abstained, again.compared_with = without, before.compared_with
        imagined = outcomes(again.paths.imagined, again.cards, again.starts)
        write_table(again.paths.outcomes(IMAGINED), imagined)
        again.summary(imagined, _measured(Path(out)), None if people else again.gates())
    return Result(again.out, cards=again.cards)


def _measured(run: Path) -> pd.DataFrame | None:
    """Return the measured outcomes that a run folder has; None if it has none."""
    if not RunPaths(run).outcomes(TRUTH).is_file():
        return None
    return read_side(run, TRUTH, needed=("policy", "task", "start", "success"))
