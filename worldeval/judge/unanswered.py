"""Stop asking a server that no longer answers, so that a run ends within hours, not weeks."""

from threading import Lock

MOST = 20  # requests in a row, each with its repetitions


class Unanswered:
    """Count a server's requests in a row without an answer."""

    def __init__(self) -> None:
        self._count, self._lock = 0, Lock()

    def note(self, *, answered: bool) -> None:
        """Count one request."""
        with self._lock:
            self._count = 0 if answered else self._count + 1

    @property
    def reason(self) -> str:
        """Why the server is not asked any more; "" while it is."""
        if self._count < MOST:
            return ""
        return f"not asked, because the server answered none of the last {MOST} requests"
