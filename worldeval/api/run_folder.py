"""Run folders that are restored if a command is refused."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from worldeval.errors import UserError
from worldeval.runs.checksums import beside
from worldeval.runs.origin import open_run
from worldeval.runs.paths import TRUTH, RunPaths


@contextmanager
def run_folder(
    folder: Path,
    *,
    recipe: dict[str, Any],
    seed: int,
    command: str,
    resume: bool = True,
    free: Collection[str] = (),
    worthless: frozenset[str] = frozenset(),
    reread: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
) -> Iterator[Path]:
    """Open a run folder (see `worldeval.runs.origin.open_run`) for the work inside this context.

    If the work is refused (UserError or OSError) before it produces any result, the folder is
    restored to its previous state, so that the corrected command does not find the wrong recipe.

    Args:
        worthless: names of further files and folders that do not count as results.
    """
    begun = _begun(folder)
    kept = {path: path.read_bytes() for path in begun if path.is_file()}
    before = _files(folder)
    above = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        yield open_run(
            folder,
            recipe=recipe,
            seed=seed,
            command=command,
            resume=resume,
            free=free,
            reread=reread,
            now=datetime.now(UTC),
        )
    except (UserError, OSError):
        new = _files(folder) - before
        lost = {path for path in new if not worthless.isdisjoint(path.relative_to(folder).parts)}
        if new <= {*begun, *lost}:
            for path in new:
                path.unlink(missing_ok=True)
            for path, content in kept.items():
                path.write_bytes(content)
            _remove_empty(folder, above)
        raise


def _begun(folder: Path) -> set[Path]:
    """List the preparatory files of a run folder, made in seconds and worthless on their own."""
    paths = RunPaths(folder)
    truth = paths.outcomes(TRUTH)  # real trials: a copy; simulator: the episodes themselves
    errors, seconds = paths.errors, paths.seconds
    made = {paths.recipe, paths.facts, paths.manifest, paths.starts, errors, seconds, truth}
    return {*made, *map(beside, made)}


def _files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()} if folder.is_dir() else set()


def _remove_empty(folder: Path, above: list[Path]) -> None:
    """Remove empty folders: those inside, and those that were created to contain `folder`."""
    inside = sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True)
    for path in (*inside, *above):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
