"""A websocket on this machine through which a page drives: JSON texts, one answer per request.

A page is told its own address, which holds a random token, so that no other page or program that
can reach the port can drive or record. Requests of all sessions are answered one at a time, because
they share world models.
"""

import json
import logging
import secrets
import threading
from collections import OrderedDict
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve

from worldeval.errors import UserError
from worldeval.serve.drive import DriveSession

HOST = "127.0.0.1"
MOST = 8  # sessions that are kept; the one unused for longest is forgotten
LARGEST = 2**16  # bytes of a request

quiet = logging.getLogger("worldeval.serve.drive")
quiet.setLevel(logging.CRITICAL)  # or every browser that leaves would be reported


class DriveServer:
    """Serve drives from a thread of this process until it ends, or until `close`."""

    def __init__(self, port: int = 0) -> None:
        """Listen at `port`, or at any free one if it is taken or 0."""
        self._sessions: OrderedDict[str, DriveSession] = OrderedDict()
        self._lock = threading.RLock()
        options: Any = {
            "process_request": self._admit,
            "max_size": LARGEST,
            "compression": None,
            "logger": quiet,
        }
        try:
            self._server = serve(self._talk, HOST, port, **options)
        except OSError:
            self._server = serve(self._talk, HOST, 0, **options)
        self.port: int = self._server.socket.getsockname()[1]
        threading.Thread(
            target=self._server.serve_forever, name="worldeval-drive", daemon=True
        ).start()

    def offer(self, session: DriveSession) -> str:
        """Give a session an address, which only its page is to know."""
        token = secrets.token_urlsafe(24)
        with self._lock:
            self._sessions[token] = session
            while len(self._sessions) > MOST:
                self._sessions.popitem(last=False)
        return f"ws://localhost:{self.port}/{token}"

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        if self._session(request.path) is None:
            return connection.respond(404, "There is no such drive. Reload the page.\n")
        return None

    def _session(self, path: str) -> DriveSession | None:
        with self._lock:
            token = path.lstrip("/")
            if token in self._sessions:
                self._sessions.move_to_end(token)
            return self._sessions.get(token)

    def _talk(self, connection: ServerConnection) -> None:
        session = self._session(connection.request.path if connection.request else "")
        try:
            for message in connection:
                connection.send(json.dumps(self._answer(session, message)))
        except ConnectionClosed:
            pass  # how pages leave

    def _answer(self, session: DriveSession | None, message: str | bytes) -> dict[str, Any]:
        try:
            request = json.loads(message)
            if session is None or not isinstance(request, dict):
                raise UserError("A request must be a JSON object.")
            with self._lock:
                return session.answer(request)
        except UserError as error:
            return {"error": str(error)}
        except (ValueError, RecursionError):
            return {"error": "A request must be a JSON object."}
        except Exception as error:  # a bug must not end the drive; the page shows it
            return {"error": f"{type(error).__name__}: {error}"}
