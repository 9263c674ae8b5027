"""One connection to a server: opened with back-off, asked with a time limit, mended when it drops.

A server of ours keeps state between requests (whose noise comes next), so what an episode asked so
far is kept and asked again after a reconnection: the answers are those of an unbroken connection.
Servers of the plain dialect answer each request by itself; there only the last one is repeated.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import monotonic, sleep
from typing import Any

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.sync.client import ClientConnection, connect

from worldeval.errors import UserError
from worldeval.policy.remote.wire import MessageLimits, WireError, unpack

BACKOFF = (0.1, 5.0)  # seconds: the first pause, and the longest


class ServerError(UserError):
    """The server said no, or nothing. An episode that meets it has no verdict: it is not failed."""


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long to wait, and for what."""

    connect: float = 30.0  # seconds of trying to reach the server
    request: float = 60.0  # seconds for one answer
    attempts: int = 3  # of one request, over new connections


class Connection:
    """A session with a server. `metadata` is what it said on connecting."""

    def __init__(
        self,
        url: str,
        *,
        token: str = "",
        patience: Patience | None = None,
        limits: MessageLimits | None = None,
        remember: Callable[[Mapping[str, Any]], bool] = lambda metadata: False,
    ) -> None:
        """Connect. `remember` says by the metadata whether the server keeps state."""
        self.url, self._token = url, token
        self._patience, self._limits = patience or Patience(), limits or MessageLimits()
        self._socket: ClientConnection | None = None
        self._asked: list[bytes] = []  # what the server's state is made of
        self._waiting: bytes | None = None
        self.reconnections = 0
        self.metadata = self._open()
        self._remembers = remember(self.metadata)

    def ask(self, message: bytes, *, begins: bool = False) -> dict[Any, Any]:
        """The answer to one request; `begins` says that what went before no longer matters."""
        if begins:
            self._asked.clear()
        self.send(message)
        return self.receive()

    def send(self, message: bytes) -> None:
        """Send a request without waiting, so that several sessions can work at the same time."""
        self._waiting = message
        if self._socket is not None:
            try:
                self._socket.send(message)
            except (ConnectionClosed, OSError):
                self.close()  # `receive` connects and asks again

    def receive(self) -> dict[Any, Any]:
        """The answer to the request sent last; reconnects and asks again where it must.

        Raises:
            ServerError: the server reports an error, or does not answer within its time.
        """
        message = self._waiting
        assert message is not None, "nothing was asked"
        problem = ""
        for attempt in range(self._patience.attempts):
            try:
                if self._socket is None or attempt:
                    self._again(message)
                answer = self._read()
            except TimeoutError:
                problem = f"did not answer within {self._patience.request:g} s"
            except (ConnectionClosed, OSError) as error:
                problem = f"closed the connection ({error})"
            else:
                self._waiting = None
                if self._remembers:
                    self._asked.append(message)
                return answer
            self.close()
        raise ServerError(
            f"The server at {self.url} {problem}, {self._patience.attempts} times over. "
            "Look at its log, or give it longer: timeout=<seconds> with the address."
        )

    def renew(self) -> None:
        """A new session in place of this one: the server forgets what was asked so far."""
        self._asked.clear()
        self._renew()

    def close(self) -> None:
        """End the session; a later request opens it again."""
        socket, self._socket = self._socket, None
        if socket is not None:
            socket.close()

    def _again(self, message: bytes) -> None:
        self._renew()
        self.reconnections += 1
        assert self._socket is not None
        for earlier in self._asked:
            self._socket.send(earlier)
            self._read()
        self._socket.send(message)

    def _renew(self) -> None:
        metadata = self._open()
        if metadata != self.metadata:
            raise ServerError(
                f"The server at {self.url} is another one since it was reconnected: "
                f"{_brief(metadata)} instead of {_brief(self.metadata)}."
            )

    def _open(self) -> dict[Any, Any]:
        """A new connection; returns the metadata that comes first."""
        self.close()
        pause, deadline = BACKOFF[0], monotonic() + self._patience.connect
        while True:
            try:
                self._socket = self._dial(max(deadline - monotonic(), 1.0))
                return self._read()
            except InvalidURI as error:
                raise ServerError(f"{self.url} is no address of a server: {error}") from error
            except InvalidStatus as error:
                refused = error.response.status_code
                if refused in (401, 403):
                    raise ServerError(
                        f"The server at {self.url} wants a token (status {refused}). "
                        "Set WORLDEVAL_TOKEN to the one it was started with."
                    ) from error
                if refused != 503:  # 503: it has as many sessions as it takes, for now
                    raise ServerError(f"{self.url} is no policy server: {error}") from error
                problem = "all its sessions are taken"
            except (OSError, TimeoutError, InvalidHandshake, ConnectionClosed) as error:
                problem = str(error) or type(error).__name__
            self.close()
            if monotonic() + pause > deadline:
                raise ServerError(
                    f"No server answers at {self.url} ({problem}), after "
                    f"{self._patience.connect:g} s of trying. Start one: worldeval serve-policy."
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
            # A server that compiles its model answers no ping meanwhile: requests have their time.
            ping_interval=None,
            proxy=None,
        )
        return dialled.__enter__()  # it outlives any block: `close` is its exit

    def _read(self) -> dict[Any, Any]:
        assert self._socket is not None
        answer = self._socket.recv(timeout=self._patience.request)
        if isinstance(answer, str):
            self.close()
            raise ServerError(f"The server at {self.url} reports: {_last(answer)}")
        try:
            content = unpack(answer, self._limits)
        except WireError as error:
            self.close()
            raise ServerError(f"The server at {self.url} sent {error}.") from error
        if not isinstance(content, dict):
            raise ServerError(f"The server at {self.url} sent a {type(content).__name__}, no map.")
        return content


def _last(text: str) -> str:
    """The end of a traceback, which says what happened, without what could steer a terminal."""
    line = next((line for line in reversed(text.splitlines()) if line.strip()), "an error")
    return "".join(letter for letter in line.strip() if letter.isprintable())[:500]


def _brief(metadata: Mapping[Any, Any]) -> str:
    return str(metadata.get("name") or dict(metadata))[:200]
