"""A folder of runs, the viewer opened on it, and a browser that looks at it."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from tests.support.chromium import chromium
from tests.support.sound_datasets import make
from tests.support.synthetic_run import synthetic_run

MAIN = Path(__file__).parents[2] / "app/main.py"
PATIENCE = 120.0  # seconds; only a machine that does other work needs more than a few


@pytest.fixture(scope="session")
def kept_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one complete run."""
    root = tmp_path_factory.mktemp("kept")
    synthetic_run(root / "demo")
    return root


@pytest.fixture(autouse=True)
def keep_main() -> Iterator[None]:
    """Streamlit leaves its page as `__main__`, which processes started later would run."""
    main = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = main


@pytest.fixture
def runs(kept_runs: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may change."""
    return Path(shutil.copytree(kept_runs, tmp_path / "runs"))


@pytest.fixture(scope="session")
def toy_runs(kept_runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete run, one with an untrained world model, judge and policy, and a dataset."""
    from toy_run import make_policy

    from tests.support.imagined_run import imagined_run

    root = tmp_path_factory.mktemp("toy")
    imagined_run(root)
    make_policy(root / "policies/toy/step-1", "toy/step-1")
    make("mp4-npz", root / "recorded")
    shutil.copytree(kept_runs / "demo", root / "demo")
    return root


@pytest.fixture
def view(monkeypatch: pytest.MonkeyPatch) -> Callable[..., AppTest]:
    """Open the viewer on a folder of runs, at a page."""

    def opened(runs: Path, page: str = "ranking.py", **link: str) -> AppTest:
        monkeypatch.setenv("WORLDEVAL_RUNS", str(runs))
        test = AppTest.from_file(str(MAIN), default_timeout=PATIENCE)
        for name, value in link.items():
            test.query_params[name] = value
        test.run()
        if page != "ranking.py":
            test.switch_page(page).run()
        assert not test.exception, test.exception[0].message
        return test

    return opened


@pytest.fixture(scope="session")
def address(toy_runs: Path, browser: Any) -> Iterator[str]:
    """`worldeval view` at work on the toy runs; where it listens."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "worldeval", "view", str(toy_runs), "--no-browser"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    server = subprocess.Popen(
        [*command, "--port", str(port)],
        start_new_session=True,  # it starts Streamlit: both are ended together
        **quiet,  # type: ignore[call-overload]
    )
    try:
        _until_it_listens(port, server)
        yield f"http://localhost:{port}"
    finally:
        os.killpg(server.pid, 15)
        server.wait(timeout=PATIENCE)


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page in a browser of its own: no cookie or link of another test."""
    context = browser.new_context(viewport={"width": 1300, "height": 1000})
    context.set_default_timeout(1000 * PATIENCE)
    yield context.new_page()
    context.close()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say how many tests looked at the viewer in a real browser."""
    counts = {
        outcome: sum("browser" in report.nodeid for report in reports)
        for outcome, reports in terminalreporter.stats.items()
        if outcome in ("passed", "failed", "skipped")
    }
    if any(counts.values()):
        ran = counts.get("passed", 0) + counts.get("failed", 0)
        left = counts.get("skipped", 0)
        where = chromium() or "none found"
        terminalreporter.write_line(f"{ran} tests ran in a browser ({where}), {left} were skipped")


def _until_it_listens(port: int, server: subprocess.Popen) -> None:
    begin = time.monotonic()
    while time.monotonic() - begin < PATIENCE:
        assert server.poll() is None, f"the viewer ended with {server.returncode}"
        with socket.socket() as client:
            client.settimeout(1)
            if client.connect_ex(("localhost", port)) == 0:
                return
        time.sleep(0.1)  # the server says nothing when it is ready
    raise AssertionError(f"the viewer does not listen on port {port}")
