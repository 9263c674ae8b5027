"""Start the viewer, which shows runs in a browser."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from worldeval.errors import UserError
from worldeval.runs.episode_labels import read_labels
from worldeval.runs.paths import IMAGINED, RunPaths
from worldeval.runs.summary import find_summary

PACKAGE = Path(__file__).parent.parent
# Accept only local connections, send no usage statistics, and offer no button to publish the app.
SERVER = {
    "--server.address": "localhost",
    "--browser.gatherUsageStats": "false",
    "--client.toolbarMode": "minimal",
    "--server.fileWatcherType": "none",
}


@dataclass(frozen=True, kw_only=True)
class Viewer:
    """A viewer that is ready to be started."""

    url: str
    runs: Path
    command: list[str]
    environment: Mapping[str, str]  # in addition to that of this process

    def run(self) -> int:
        """Run the viewer until it is closed, and return its exit status."""
        environment = {**os.environ, **self.environment}
        return subprocess.run(self.command, env=environment, check=False).returncode


def viewer(
    runs: str | Path = "runs",
    *,
    label: bool = False,
    data: Sequence[str | Path] = (),
    port: int = 8501,
    browser: bool = True,
) -> Viewer:
    """Prepare the viewer of a folder of runs; `.run()` starts it.

    It listens on this machine only and opens no file outside the given folders.

    Args:
        runs: folder that contains the runs; or a file that `label_data` wrote, whose labels are
            then confirmed beside the recordings in `data`.
        label: open the blind queue of labels; `runs` is then the folder of one run.
        data: folders of datasets outside `runs`.
        port: port that the viewer listens on; the page Drive uses the next one too, if it is free.
        browser: open a browser window.

    Raises:
        UserError: a folder is missing or of another kind, or Streamlit or the viewer is not
            installed.

    >>> from worldeval.api.view import viewer
    >>> viewer("runs").run()  # doctest: +SKIP
    """
    if find_spec("streamlit") is None:
        raise UserError("The viewer needs Streamlit: pip install 'worldeval[app]'.")
    root, opened = _opened(Path(runs), label=label, data=[str(folder) for folder in data])
    for folder in (root, *data):
        if not Path(folder).is_dir():
            raise UserError(f"There is no folder {folder}. Give the folder that holds your runs.")
    command = [sys.executable, "-m", "streamlit", "run", str(main_file())]
    command += [word for option in SERVER.items() for word in option]
    command += ["--server.port", str(port), "--server.headless", str(not browser).lower()]
    folders = os.pathsep.join(str(folder) for folder in data)
    return Viewer(
        url=f"http://localhost:{port}",
        runs=root,
        command=command,
        environment={
            "WORLDEVAL_RUNS": str(root),
            **opened,
            "WORLDEVAL_DATA": folders,
            "WORLDEVAL_DRIVE_PORT": str(port + 1) if 0 < port < 65535 else "0",
        },
    )


def _opened(runs: Path, *, label: bool, data: Sequence[str]) -> tuple[Path, dict[str, str]]:
    """Return the folder of runs, and what the viewer is opened on: a page, a run, labels."""
    closed = {"WORLDEVAL_PAGE": "", "WORLDEVAL_RUN": "", "WORLDEVAL_LABELS": ""}
    if runs.is_file():
        if not read_labels(runs):
            raise UserError(f"{runs} has no labels. Give a file that worldeval data label wrote.")
        if len(data) != 1:
            raise UserError(
                f"Give the recordings of {runs}: worldeval view {runs} --data RECORDINGS"
            )
        page = {"WORLDEVAL_PAGE": "confirming", "WORLDEVAL_LABELS": str(runs)}
        return runs.absolute().parent, closed | page
    if not label:
        return runs, closed
    folder = runs.absolute()
    if find_summary(folder) is None and not RunPaths(folder).outcomes(IMAGINED).is_file():
        raise UserError(f"{runs} is not a finished run. With --label, give the folder of one run.")
    return folder.parent, closed | {"WORLDEVAL_PAGE": "labelling", "WORLDEVAL_RUN": folder.name}


def main_file() -> Path:
    """Find the viewer in a checkout or in an installed wheel."""
    for folder in (PACKAGE / "app", PACKAGE.parent / "app"):
        if (folder / "main.py").is_file():
            return folder / "main.py"
    raise UserError(
        "This installation does not contain the viewer (app/). Install from the repository."
    )
