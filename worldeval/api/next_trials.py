"""Choose which policy to try next on the robot, and from which start."""

from pathlib import Path

from worldeval.evaluate.next_trials import Advice, advise
from worldeval.evaluate.next_trials import answered as answered


def next_trials(
    run: str | Path,
    out: str | Path | None = None,
    *,
    trials: int = 20,
    real: str | Path | None = None,
    regret: float = 0.05,
    confidence: float = 0.9,
    phi: float | None = None,
    by_value: bool = False,
    seed: int = 0,
) -> Advice:
    """Choose which policies to try next on the robot, to find the best one with few trials.

    Writes a blinded schedule in random order (CSV, and HTML to print). Fill in its column
    `success`, or call `worldeval.api.next_trials.answered`, and repeat the call.

    Args:
        run: folder of a finished `rank`.
        out: folder of the schedule. Default: `RUN/next`.
        trials: number of open trials to keep in the schedule.
        real: CSV of trials made outside the schedule (policy, task, start, success).
        regret: acceptable loss in success rate compared with the best policy.
        confidence: stop once the choice is within `regret` of the best with this probability.
        phi: real trials that an imagined rate is worth. Default: as measured by the run.
        by_value: predict success from every start by the policy's other results (V0), and spread
            its trials over easy and hard starts, so that its rate varies less.
        seed: random seed of the schedule.

    Returns:
        The policy one would choose now, the probability that it is good enough, and the schedule.

    Raises:
        UserError: the run ranks fewer than two policies, a number is out of range, or the schedule
            or the trials do not fit the run.

    >>> import worldeval as we
    >>> advice = we.next_trials("toy/run", "toy/next", trials=4)
    >>> advice.open, advice.enough
    (4, False)
    """
    folder = Path(run) / "next" if out is None else Path(out)
    return advise(
        Path(run),
        folder,
        trials=trials,
        real=None if real is None else Path(real),
        regret=regret,
        confidence=confidence,
        phi=phi,
        by_value=by_value,
        seed=seed,
    )
