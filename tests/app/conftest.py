"""A folder of runs, and the viewer opened on it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from tests.support.synthetic_run import synthetic_run

MAIN = Path(__file__).parents[2] / "app/main.py"


@pytest.fixture(scope="session")
def kept_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one complete run."""
    root = tmp_path_factory.mktemp("kept")
    synthetic_run(root / "demo")
    return root


@pytest.fixture
def runs(kept_runs: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may change."""
    import shutil

    return Path(shutil.copytree(kept_runs, tmp_path / "runs"))


@pytest.fixture
def view(monkeypatch: pytest.MonkeyPatch) -> Callable[..., AppTest]:
    """Open the viewer on a folder of runs, at a page."""

    def opened(runs: Path, page: str = "ranking.py", **link: str) -> AppTest:
        monkeypatch.setenv("WORLDEVAL_RUNS", str(runs))
        test = AppTest.from_file(str(MAIN), default_timeout=120)
        for name, value in link.items():
            test.query_params[name] = value
        test.run()
        if page != "ranking.py":
            test.switch_page(page).run()
        assert not test.exception, test.exception[0].message
        return test

    return opened
