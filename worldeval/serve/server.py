"""A websocket server for whatever answers messages: bounded, authenticated, one call at a time.

The dialect is openpi's: the server speaks first and sends its metadata; every binary frame is a
request with one answer; a text frame is an error and the last thing a session hears.
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
# The library would print a traceback for every stranger that knocks with something else.
quiet = logging.getLogger("worldeval.serve.websockets")
quiet.setLevel(logging.CRITICAL)


@runtime_checkable
class Session(Protocol):
    """One client's conversation."""

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """The answer to a request. WireError and UserError are told to the client."""
        ...


@runtime_checkable
class Service(Protocol):
    """What is served."""

    @property
    def metadata(self) -> Mapping[str, Any]: ...

    def session(self) -> Session: ...


@dataclass(frozen=True, kw_only=True)
class ServerConfig:
    """Where to listen, whom to answer and how much of it."""

    host: str = "127.0.0.1"
    port: int = 8000  # 0: a free one
    token: str = ""
    open: bool = False  # listen beyond this machine without a token
    sessions: int = 128  # connections at the same time
    idle: float = 600.0  # seconds that a session may take over its next request
    answer: float = 600.0  # seconds that a call of what is served may take
    greeting: float = 10.0  # seconds that a client may take to say hello
    limits: MessageLimits = field(default_factory=MessageLimits)

    def __post_init__(self) -> None:
        checked_token(self.token, "--token (or WORLDEVAL_TOKEN)")
        if self.host not in LOCAL and not self.token and not self.open:
            raise UserError(
                f"Listening on {self.host} without a token lets anybody in reach use this. Give "
                "--token (or WORLDEVAL_TOKEN), or --open if that is what you want."
            )


@runtime_checkable
class ServiceDirectory(Protocol):
    """Several services, each at a path of its own."""

    def at(self, path: str) -> Service: ...


class Server:
    """Serves until it is stopped. Calls of all sessions happen in one thread, one at a time."""

    def __init__(self, service: Service | ServiceDirectory, config: ServerConfig) -> None:
        self._service, self._config = service, config
        self._token = config.token.encode()
        self._metadata = None
        if isinstance(service, Service) and not isinstance(service, ServiceDirectory):
            self._metadata = pack(dict(service.metadata))
        # One thread: models share their weights, and renderers belong to a thread.
        self._thread = _one_thread()
        self.stuck = False  # a call never came back, and its thread with it
        self.sessions = 0
        self.port = config.port
        self.errors = 0  # requests that were refused or failed

    async def run(self, ready: Callable[[str], None] | None = None) -> None:
        """Listen; `ready` hears the address once clients can connect."""
        config = self._config
        async with serve(
            self._talk,
            config.host,
            config.port,
            process_request=self._admit,
            # A page in a browser brings an Origin; robots and evaluations do not.
            origins=[None],
            compression=None,  # also: nothing small becomes big on arrival
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
        # Every header is compared, each in a time that says nothing of how much of it is right.
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
                said = f"No request came within {self._config.idle:g} s."
                return await self._part(connection, said, CloseCode.POLICY_VIOLATION)
            try:
                if session is None:
                    session = await self._call(service.session)
                answer = await self._call(self._answer, session, message)
            except Exception as error:  # a bug in what is served must not end the server
                return await self._refuse(connection, error)
            # A client that reads no more would hold its session for ever.
            await asyncio.wait_for(connection.send(answer), self._config.idle)

    async def _served(self, connection: ServerConnection) -> Service:
        """What is at the path that the client asks for, after telling it the metadata."""
        service, metadata = self._service, self._metadata
        if isinstance(service, ServiceDirectory):
            path = connection.request.path if connection.request else "/"
            service = await self._call(service.at, path)
            metadata = pack(dict(service.metadata))
        assert metadata is not None
        await connection.send(metadata)
        return service

    async def _call(self, work: Callable[..., Any], *given: Any) -> Any:
        """The outcome of a call in the thread of all calls.

        Raises:
            TimeoutError: it took too long. Its thread is left to itself, and another takes over.
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
            raise WireError("a request is a binary frame")
        request = unpack(message, self._config.limits)
        if not isinstance(request, dict) or not all(isinstance(key, str) for key in request):
            raise WireError("a request is a map with texts as keys")
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
        await connection.close(code, "the frame before says why")


def _one_thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="worldeval-serve")


def _tamed(work: Callable[..., Any], *given: Any) -> Any:
    """The call; `sys.exit` of what is served is an error of its own, and ends no server."""
    try:
        return work(*given)
    except Exception:
        raise
    except BaseException as error:
        raise RuntimeError(f"{type(error).__name__}({error})") from error


def _secret(header: str) -> bytes:
    """The token in `Api-Key TOKEN` or `Bearer TOKEN`."""
    return header.partition(" ")[2].strip().encode(errors="surrogateescape")


def _who(connection: ServerConnection) -> str:
    address = connection.remote_address
    return f"{address[0]}:{address[1]}" if address else "a client that left"
