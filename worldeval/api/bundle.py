"""Write a run as a static site, to be sent to someone."""

from pathlib import Path

import numpy as np

from worldeval.api.result import Result
from worldeval.report.bundle import Bundle, check_target, write_bundle
from worldeval.report.contents import read_contents
from worldeval.runs.episodes import read_episodes


def bundle(run: str | Path | Result, out: str | Path, *, seed: int = 0) -> Bundle:
    """Write a static, read-only site of a run: ranking, episodes with films, comparison, caveats.

    It opens from a file or any web server, loads nothing from the network, and every episode has a
    link (`index.html#episode/...`).

    Args:
        run: a run folder, or a result.
        out: a new or empty folder, or an earlier bundle, which is replaced.
        seed: random seed of P(best), if the run has no ranking yet.

    Returns:
        The page to open, and what it holds.

    Raises:
        UserError: the run does not exist, nothing was ranked in it yet, or `out` holds something
            else.

    >>> import worldeval as we
    >>> we.bundle("toy/run", "toy/site").path.as_posix()
    'toy/site/index.html'
    """
    folder = run.folder if isinstance(run, Result) else Path(run)
    check_target(Path(out))  # before anything is read
    contents = read_contents(folder, rng=np.random.default_rng(seed))
    return write_bundle(contents, read_episodes(folder), Path(out))
