"""A connection to a server: opened with back-off, time limits per request, reopened if it drops.

A worldeval server keeps state between requests (such as random generators), so an episode's
requests are recorded and repeated after a reconnection; the answers are then those of an unbroken
connection. Servers of the plain protocol answer each request independently, so that only the last
request is repeated.

Requests to a worldeval server are numbered, and its answers include the number. The plain protocol
has no numbers: an answer that arrives before a request was sent is refused.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from socket import SHUT_RDWR
from threading import Timer
from time import monotonic, sleep
from typing import Any

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.sync.client import ClientConnection, connect

from worldeval.errors import UserError
from worldeval.policy.remote.tokens import withheld
from worldeval.policy.remote.wire import MessageLimits, WireError, pack, unpack

BACKOFF = (0.1, 5.0)  # seconds: the first pause, and the longest
PING = 2.0  # seconds for a server to show that no answer is pending
NUMBER, NUMBERED = "request", "numbered"


class ServerError(UserError):
    """The server refused or did not answer. The episode gets no verdict; it is not a failure."""


class _NotTaken(TimeoutError):
    """The server stopped reading while a request was sent to it."""


@dataclass(frozen=True, kw_only=True)
class Patience:
    """Time limits and attempts."""

    connect: float = 30.0  # seconds for reaching the server
    request: float = 60.0  # seconds for sending a request, and for one answer
    attempts: int = 3  # per request, over new connections


class Connection:
    """A session with a server. `metadata` is what the server sent on connecting."""

    def __init__(
        self,
        url: str,
        *,
        token: str = "",
        patience: Patience | None = None,
        limits: MessageLimits | None = None,
        remember: Callable[[Mapping[str, Any]], bool] = lambda metadata: False,
    ) -> None:
        """Connect. `remember` decides from the metadata whether the server keeps state."""
        self.url, self._token = url, token
        self._patience, self._limits = patience or Patience(), limits or MessageLimits()
        self._socket: ClientConnection | None = None
        self._asked: list[tuple[int, bytes]] = []  # requests that make up the server's state
        self._waiting: tuple[int, bytes] | None = None
        self._number = 0
        self.reconnections = 0
        self.metadata = self._open()
        self._remembers = remember(self.metadata)
        self._numbered = self.metadata.get(NUMBERED) is True

    def ask(self, request: Mapping[str, Any], *, begins: bool = False) -> dict[Any, Any]:
        """Return the answer to a request; `begins` makes earlier requests irrelevant."""
        if begins:
            self._asked.clear()
        self.send(request)
        return self.receive()

    def send(self, request: Mapping[str, Any]) -> None:
        """Send a request without waiting, so that several sessions can work concurrently."""
        self._number += 1
        numbered = {**request, NUMBER: self._number} if self._numbered else dict(request)
        self._waiting = (self._number, pack(numbered))
        if self._socket is not None:
            try:
                self._send(self._waiting[1])
            except (ConnectionClosed, OSError, TimeoutError):
                self.close()  # `receive` connects and asks again

    def receive(self) -> dict[Any, Any]:
        """Return the answer to the last request; reconnects and repeats it if necessary.

        Raises:
            ServerError: the server reports an error, does not read the request or answer in time,
                or sends something unexpected.
        """
        waiting = self._waiting
        assert waiting is not None, "no request was sent"
        problem = ""
        for attempt in range(self._patience.attempts):
            try:
                if self._socket is None or attempt:
                    self._again(waiting)
                answer = self._answer(waiting[0])
            except TimeoutError as error:
                did_not = "take the request" if isinstance(error, _NotTaken) else "answer"
                problem = f"did not {did_not} within {self._patience.request:g} s"
            except (ConnectionClosed, OSError) as error:
                problem = f"closed the connection ({error})"
            else:
                self._waiting = None
                if self._remembers:
                    self._asked.append(waiting)
                return answer
            self.close()
        raise ServerError(
            f"The server at {self.url} {problem}, in {self._patience.attempts} attempts. Check its "
            "log, or allow more time: add timeout=<seconds> to the address."
        )

    def settle(self) -> None:
        """Check that no unrequested answer is pending.

        A server answers a ping after everything it sent before, so this waits for exactly that.

        Raises:
            ServerError: there is one, so earlier answers may belong to other requests as well.
        """
        if self._socket is None or self._waiting is not None:
            return
        try:
            with _limited(self._socket, self._patience.request):
                heard = self._socket.ping()
            heard.wait(min(PING, self._patience.request))
            extra = self._socket.recv(timeout=0)
        except TimeoutError:
            return
        except (ConnectionClosed, OSError):
            self.close()
            return
        self.close()
        if isinstance(extra, str):
            raise ServerError(f"The server at {self.url} reports: {_last(extra)}")
        raise ServerError(
            f"The server at {self.url} sent an unrequested answer, so its answers cannot be "
            "matched to requests; this episode is discarded."
        )

    def renew(self) -> None:
        """Replace the session by a new one: the server forgets all earlier requests."""
        self._asked.clear()
        self._waiting = None
        self._renew()

    def close(self) -> None:
        """End the session; a later request opens it again."""
        socket, self._socket = self._socket, None
        if socket is not None:
            # The closing handshake is a send, too.
            with _limited(socket, self._patience.request):
                socket.close()

    def _send(self, message: bytes) -> None:
        assert self._socket is not None
        with _limited(self._socket, self._patience.request) as limit:
            try:
                self._socket.send(message)
            except (ConnectionClosed, OSError) as error:
                if limit.passed:
                    raise _NotTaken from error
                raise

    def _again(self, waiting: tuple[int, bytes]) -> None:
        self._renew()
        self.reconnections += 1
        for number, earlier in self._asked:
            self._send(earlier)
            self._answer(number)
        self._send(waiting[1])

    def _answer(self, number: int) -> dict[Any, Any]:
        answer = self._read()
        if self._numbered and answer.pop(NUMBER, None) != number:
            self.close()
            raise ServerError(
                f"The server at {self.url} answered a request other than number {number}, so its "
                "answers cannot be matched to requests."
            )
        return answer

    def _renew(self) -> None:
        metadata = self._open()
        if pack(metadata) != pack(self.metadata):  # they may hold arrays
            raise ServerError(
                f"The server at {self.url} has changed since it was reconnected: "
                f"{_brief(metadata)} instead of {_brief(self.metadata)}."
            )

    def _open(self) -> dict[Any, Any]:
        """Open a new connection; returns the metadata that comes first."""
        self.close()
        pause, deadline = BACKOFF[0], monotonic() + self._patience.connect
        while True:
            left = max(deadline - monotonic(), 1.0)
            try:
                self._socket = self._dial(left)
                return self._read(within=min(left, self._patience.request))
            except InvalidURI as error:
                raise ServerError(f"{self.url} is not a server's address: {error}") from error
            except InvalidStatus as error:
                refused = error.response.status_code
                if refused in (401, 403):
                    raise ServerError(
                        f"The server at {self.url} requires a token (status {refused}). Set "
                        f"WORLDEVAL_TOKEN to the one it was started with.{withheld(self.url)}"
                    ) from error
                if refused != 503:  # 503: its number of sessions is exhausted for now
                    raise ServerError(f"{self.url} is not a policy server: {error}") from error
                problem = "all its sessions are taken"
            except (OSError, TimeoutError, InvalidHandshake, ConnectionClosed) as error:
                problem = str(error) or type(error).__name__
            self.close()
            if monotonic() + pause > deadline:
                raise ServerError(
                    f"No server answers at {self.url} ({problem}), after "
                    f"{self._patience.connect:g} s of trying. Start one: worldeval serve-policy "
                    "(serve-env for a simulator)."
                )
            sleep(pause)
            pause = min(2 * pause, BACKOFF[1])

    def _dial(self, within: float) -> ClientConnection:
        headers = {"Authorization": f"Api-Key {self._token}"} if self._token else None
        dialled = connect(
            self.url,
            additional_headers=headers,
            compression=None,
            max_size=self._limits.message,
            open_timeout=min(within, 10.0),
            close_timeout=1.0,
            # A server that compiles its model answers no pings meanwhile; requests have limits.
            ping_interval=None,
            proxy=None,
        )
        return dialled.__enter__()  # it outlives any block: `close` is its exit

    def _read(self, *, within: float | None = None) -> dict[Any, Any]:
        assert self._socket is not None
        within = self._patience.request if within is None else within
        answer = self._socket.recv(timeout=within)
        if isinstance(answer, str):
            self.close()
            raise ServerError(f"The server at {self.url} reports: {_last(answer)}")
        try:
            content = unpack(answer, self._limits)
        except WireError as error:
            self.close()
            raise ServerError(
                f"The server at {self.url} sent an invalid answer: {error}."
            ) from error
        if not isinstance(content, dict):
            raise ServerError(
                f"The server at {self.url} sent a {type(content).__name__}; expected a map."
            )
        return content


class _limited:
    """Close a connection if the block takes longer than `seconds`: a server that stops reading
    would otherwise block a send forever."""

    def __init__(self, socket: ClientConnection, seconds: float) -> None:
        self._socket, self.passed = socket, False
        self._timer = Timer(seconds, self._cut)
        self._timer.daemon = True

    def __enter__(self) -> "_limited":
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def _cut(self) -> None:
        self.passed = True
        with suppress(OSError):  # it is closed already
            self._socket.socket.shutdown(SHUT_RDWR)


def _last(text: str) -> str:
    """The end of a traceback, with the cause, and without terminal control characters."""
    line = next((line for line in reversed(text.splitlines()) if line.strip()), "an error")
    return "".join(letter for letter in line.strip() if letter.isprintable())[:500]


def _brief(metadata: Mapping[Any, Any]) -> str:
    name = metadata.get("name")
    said = name if isinstance(name, str) and name else str(dict(metadata))
    return "".join(letter for letter in said if letter.isprintable())[:200]
