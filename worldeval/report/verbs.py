"""Run a command in a separate process, so that the viewer itself never loads a network."""

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from worldeval.errors import UserError


def run_verb(*words: str, names: Sequence[str] = (), seconds: float = 3600) -> Any:
    """Run `worldeval WORDS --json -- NAMES` and return what it prints.

    Args:
        names: arguments that come from files; they are never parsed as options.
        seconds: time limit, after which the command is stopped.

    Raises:
        UserError: the command refused, failed or was stopped; with its own message.
    """
    after = ["--", *names] if names else []
    command = [sys.executable, "-m", "worldeval", *words, "--json", *after]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=seconds, encoding="utf-8"
        )
    except subprocess.TimeoutExpired as error:
        raise UserError(
            f"worldeval {words[0]} took longer than {seconds:g} s and was stopped."
        ) from error
    try:
        said = json.loads(done.stdout)
    except json.JSONDecodeError:
        said = None
    if done.returncode or said is None:
        words_said = said.get("error") if isinstance(said, dict) else None
        last = (done.stderr.strip().splitlines() or ["it printed nothing"])[-1]
        raise UserError(f"worldeval {words[0]} failed: {words_said or last}")
    return said
