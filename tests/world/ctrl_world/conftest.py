"""A tiny random CLIP in a local folder."""

from pathlib import Path

import pytest

from tests.support.clip import tiny_clip


@pytest.fixture(scope="session")
def clip(tmp_path_factory) -> Path:
    return tiny_clip(tmp_path_factory.mktemp("clip"))
