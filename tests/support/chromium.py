"""Chromium without a window, for tests of pages; one browser for all of them."""

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest


def chromium() -> str | None:
    """Where Chromium is; Playwright brings none."""
    return os.environ.get("WORLDEVAL_CHROMIUM") or shutil.which("chromium")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium; skips where there is none."""
    path = chromium()
    if path is None:
        pytest.skip("no Chromium here: apt-get install chromium, or set WORLDEVAL_CHROMIUM")
    sync_api = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    with sync_api.sync_playwright() as playwright:
        # The sandbox refuses to work for root, and only this machine's own pages are opened.
        opened = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-gpu"]
        )
        yield opened
        opened.close()
