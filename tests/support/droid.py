"""Where real robot episodes are, for the tests that need them."""

import os
from pathlib import Path

import pytest


def droid_folder() -> Path:
    """The folder of DROID episodes in Ctrl-World's layout; skips the test where there is none."""
    path = Path(os.environ.get("WORLDEVAL_DROID", "../shared/data/droid"))
    if not path.is_dir():
        pytest.skip(f"no DROID episodes at {path}; set WORLDEVAL_DROID to a Ctrl-World folder")
    return path
