"""A disk that takes no more than so many bytes of a file, by the limit of a process."""

import resource
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def on_small_disk(code: str, *words: object, limit: int) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process of its own whose files may not grow beyond `limit` bytes."""

    def small() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return subprocess.run(
        [sys.executable, "-B", "-c", code, *map(str, words)],
        preexec_fn=small,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
