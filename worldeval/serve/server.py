"""A websocket server for any service: bounded, authenticated, one call at a time.

The protocol is openpi's: the server first sends its metadata; every binary frame is a request with
one answer; a text frame is an error and ends the session.
"""

import asyncio
import hmac
import http
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode
from websockets.http11 import Request, Response

from worldeval.errors import UserError
from worldeval.policy.remote.connection import NUMBER
from worldeval.policy.remote.tokens import checked_token
from worldeval.policy.remote.wire import MessageLimits, WireError, pack, unpack

LOCAL = ("127.0.0.1", "localhost", "::1")

log = logging.getLogger("worldeval.serve")
# The library would log a traceback for every client that does not speak websocket.
quiet = logging.getLogger("worldeval.serve.websockets")
quiet.setLevel(logging.CRITICAL)


@runtime_checkable
class Session(Protocol):
    """One client's conversation."""

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer a request. WireError and UserError are reported to the client."""
        ...


@runtime_checkable
class Service(Protocol):
    """A service that a server offers."""

    @property
    def metadata(self) -> Mapping[str, Any]: ...

    def session(self) -> Session: ...


@dataclass(frozen=True, kw_only=True)
class ServerConfig:
    """Where to listen, whom to answer, and limits."""

    host: str = "127.0.0.1"
    port: int = 8000  # 0: any free port
    token: str = ""
    open: bool = False  # allow listening beyond this machine without a token
    sessions: int = 128  # maximum number of concurrent connections
    idle: float = 600.0  # seconds that a session may be idle between requests
    answer: float = 600.0  # seconds that a call of the service may take
    greeting: float = 10.0  # seconds that a client may take for the handshake
    limits: MessageLimits = field(default_factory=MessageLimits)

    def __post_init__(self) -> None:
        checked_token(self.token, "--token (or WORLDEVAL_TOKEN)")
        if self.host not in LOCAL and not self.token and not self.open:
            raise UserError(
                f"Listening on {self.host} without a token lets anyone who can reach it use this "
                "server. Pass --token (or set WORLDEVAL_TOKEN), or --open if that is intended."
            )


@runtime_checkable
class ServiceDirectory(Protocol):
    """Several services, each at its own path."""

    def at(self, path: str) -> Service: ...


class Server:
    """Serve until stopped. Calls of all sessions run in one thread, one at a time."""

    def __init__(self, service: Service | ServiceDirectory, config: ServerConfig) -> None:
        self._service, self._config = service, config
        self._token = config.token.encode()
        self._metadata = None
        if isinstance(service, Service) and not isinstance(service, ServiceDirectory):
            self._metadata = pack(dict(service.metadata))
        # One thread: models share their weights, and renderers belong to a thread.
        self._thread = _one_thread()
        self.stuck = False  # whether a call never returned and blocks its thread
        self.sessions = 0
        self.port = config.port
        self.errors = 0  # requests that were refused or failed

    async def run(self, ready: Callable[[str], None] | None = None) -> None:
        """Listen; `ready` receives the address once clients can connect."""
        config = self._config
        async with serve(
            self._talk,
            config.host,
            config.port,
            process_request=self._admit,
            # Browsers send an Origin header; robots and evaluations do not.
            origins=[None],
            compression=None,  # also prevents decompression bombs
            max_size=config.limits.message,
            max_queue=2,
            open_timeout=config.greeting,
            close_timeout=2,
            ping_interval=20,
            ping_timeout=120,
            logger=quiet,
        ) as listening:
            self.port = next(iter(listening.sockets)).getsockname()[1]
            host = f"[{config.host}]" if ":" in config.host else config.host
            if ready:
                ready(f"ws://{host}:{self.port}")
            await listening.serve_forever()

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        if request.path == "/healthz":
            return connection.respond(http.HTTPStatus.OK, "OK\n")
        if self._token and not self._knows(request):
            log.warning("refused %s: wrong or missing token", _who(connection))
            return connection.respond(http.HTTPStatus.UNAUTHORIZED, "A valid token is needed.\n")
        if self.sessions >= self._config.sessions:
            return connection.respond(
                http.HTTPStatus.SERVICE_UNAVAILABLE, "All sessions are taken.\n"
            )
        return None

    def _knows(self, request: Request) -> bool:
        # Compare every header, in a time that does not reveal how much of it is right.
        known = [
            hmac.compare_digest(_secret(given), self._token)
            for given in request.headers.get_all("Authorization")
        ]
        return len(known) == 1 and known[0]

    async def _talk(self, connection: ServerConnection) -> None:
        self.sessions += 1
        try:
            await self._converse(connection)
        except (ConnectionClosed, TimeoutError):
            pass  # how sessions end
        finally:
            self.sessions -= 1

    async def _converse(self, connection: ServerConnection) -> None:
        try:
            service = await self._served(connection)
        except Exception as error:
            return await self._refuse(connection, error)
        session = None
        while True:
            try:
                message = await asyncio.wait_for(connection.recv(), self._config.idle)
            except TimeoutError:
                said = f"No request arrived within {self._config.idle:g} s."
                return await self._part(connection, said, CloseCode.POLICY_VIOLATION)
            try:
                if session is None:
                    session = await self._call(service.session)
                answer = await self._call(self._answer, session, message)
            except Exception as error:  # a bug in the service must not end the server
                return await self._refuse(connection, error)
            # A client that stops reading would otherwise hold its session forever.
            await asyncio.wait_for(connection.send(answer), self._config.idle)

    async def _served(self, connection: ServerConnection) -> Service:
        """Select the service at the client's path, after sending its metadata."""
        service, metadata = self._service, self._metadata
        if isinstance(service, ServiceDirectory):
            path = connection.request.path if connection.request else "/"
            service = await self._call(service.at, path)
            metadata = pack(dict(service.metadata))
        assert metadata is not None
        await connection.send(metadata)
        return service

    async def _call(self, work: Callable[..., Any], *given: Any) -> Any:
        """Run a call in the thread of all calls.

        Raises:
            TimeoutError: it took too long. Its thread is abandoned, and another one takes over.
        """
        thread = self._thread
        called = asyncio.get_running_loop().run_in_executor(thread, _tamed, work, *given)
        try:
            return await asyncio.wait_for(called, self._config.answer)
        except TimeoutError as error:
            if self._thread is thread:
                self._thread, self.stuck = _one_thread(), True
            raise TimeoutError(f"no answer within {self._config.answer:g} s") from error

    async def _refuse(self, connection: ServerConnection, error: Exception) -> None:
        if isinstance(error, ConnectionClosed):
            raise error
        if isinstance(error, WireError | UserError):
            log.warning("refused a request of %s: %s", _who(connection), error)
            return await self._part(connection, str(error), CloseCode.POLICY_VIOLATION)
        log.error("a request of %s failed", _who(connection), exc_info=error)
        said = f"{type(error).__name__}: {error}"
        await self._part(connection, said, CloseCode.INTERNAL_ERROR)

    def _answer(self, session: Session, message: str | bytes) -> bytes:
        if isinstance(message, str):
            raise WireError("a request must be a binary message")
        request = unpack(message, self._config.limits)
        if not isinstance(request, dict) or not all(isinstance(key, str) for key in request):
            raise WireError("a request must be a map whose keys are texts")
        number = request.pop(NUMBER, None)
        begin = time.perf_counter()
        answer = session.answer(request)
        if type(number) is int:
            answer[NUMBER] = number
        answer["server_timing"] = {"infer_ms": 1000 * (time.perf_counter() - begin)}
        return pack(answer)

    async def _part(self, connection: ServerConnection, said: str, code: CloseCode) -> None:
        self.errors += 1
        await connection.send(said[:2000])
        await connection.close(code, "see the previous message for the reason")


def _one_thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="worldeval-serve")


def _tamed(work: Callable[..., Any], *given: Any) -> Any:
    """Make the call; a service's `sys.exit` becomes an error and does not end the server."""
    try:
        return work(*given)
    except Exception:
        raise
    except BaseException as error:
        raise RuntimeError(f"{type(error).__name__}({error})") from error


def _secret(header: str) -> bytes:
    """Read the token in `Api-Key TOKEN` or `Bearer TOKEN`."""
    return header.partition(" ")[2].strip().encode(errors="surrogateescape")


def _who(connection: ServerConnection) -> str:
    address = connection.remote_address
    return f"{address[0]}:{address[1]}" if address else "a client that left"
