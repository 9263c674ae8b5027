"""A verb of the command line in a process of its own: the viewer itself stays free of networks."""

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from worldeval.errors import UserError


def run_verb(*words: str, names: Sequence[str] = (), seconds: float = 3600) -> Any:
    """Run `worldeval WORDS --json -- NAMES` and return what it prints.

    Args:
        names: arguments that come from files; they are never read as options.
        seconds: after which it is stopped.

    Raises:
        UserError: the verb refused, failed or was stopped; with its own words.
    """
    after = ["--", *names] if names else []
    command = [sys.executable, "-m", "worldeval", *words, "--json", *after]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=seconds, encoding="utf-8"
        )
    except subprocess.TimeoutExpired as error:
        raise UserError(f"worldeval {words[0]} took longer than {seconds:g} s.") from error
    try:
        said = json.loads(done.stdout)
    except json.JSONDecodeError:
        said = None
    if done.returncode or said is None:
        words_said = said.get("error") if isinstance(said, dict) else None
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise UserError(f"worldeval {words[0]} failed: {words_said or last}")
    return said
