"""A judge behind OpenAI's chat API: vLLM, llama.cpp's server, Ollama, a hosted service.

The model sees frames with times, the instruction and criteria, and answers yes, no or unsure. Its
probability is that of "yes" against "no" by the log-probabilities of its answer where the server
gives them, and the share of "yes" among several samples where it does not. Whatever it does not
answer is an abstention: never a success, never a failure.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from threading import Lock
from time import monotonic, sleep
from typing import Any

import yaml

from worldeval.config import build
from worldeval.errors import UserError
from worldeval.judge.protocol import Appraisal
from worldeval.judge.unanswered import Unanswered
from worldeval.judge.vlm.answer import SCHEMA, Answer, read_answer
from worldeval.judge.vlm.pictures import shown
from worldeval.policy.remote.tokens import host_of, token_for
from worldeval.record import Episode

LARGEST = 4 * 2**20  # bytes of an answer
ASKED_AGAIN = 2  # times, after an answer that cannot be read
LAYOUTS = ("grid", "sequence")
OPENAI, OPENAI_KEY = "api.openai.com", "OPENAI_API_KEY"  # sent to no other host
MISSING = "A vlm: judge needs the package openai: pip install 'worldeval[vlm]'."


@dataclass(frozen=True, kw_only=True)
class VlmRecipe:
    """Parameters of a `vlm:` address."""

    model: str
    frames: int = 8  # shown of every episode, start and end included
    layout: str = "grid"  # or sequence
    prompt: str = ""  # file with {task}, {criteria}, {cameras}; default: the shipped one
    criteria: str = ""  # YAML file: task -> what counts as success
    samples: int = 5  # where the server gives no log-probabilities
    timeout: float = 60.0  # seconds for one answer, from the first byte to the last
    retries: int = 4  # after errors, each after a longer pause
    concurrency: int = 4  # requests at the same time
    per_minute: float = 0.0  # requests; 0: no limit of our own
    price: float = 0.0  # of a million tokens, in any currency, for the cost in the summary
    seed: int = 0  # sent with every request

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS:
            raise ValueError(f"layout '{self.layout}' is unknown; choose grid or sequence")
        if not 2 <= self.frames <= 64 or not 1 <= self.samples <= 100:
            raise ValueError("frames must be 2 to 64, and samples 1 to 100")
        if not 1 <= self.concurrency <= 64 or not 0 <= self.retries <= 20 or self.timeout <= 0:
            raise ValueError("concurrency must be 1 to 64, retries 0 to 20, timeout above 0")


class VlmJudge:
    """A judge of frames that asks a chat model. See the module's text."""

    def __init__(self, url: str, params: Mapping[str, Any], *, key: str | None = None) -> None:
        """Prepare a client; nothing is asked yet.

        Args:
            url: of the API, such as `http://localhost:8000/v1`.
            params: as in `VlmRecipe`.
            key: secret that the server wants. Default: from the environment, where it is meant for
                this server (`WORLDEVAL_TOKEN_<HOST>`, or `WORLDEVAL_TOKEN` for servers that the
                command line names). It is never written.

        Raises:
            UserError: a parameter or a file is wrong, or the package openai is missing.
        """
        try:
            from openai import DefaultHttpxClient, OpenAI
        except ModuleNotFoundError as error:
            raise UserError(MISSING) from error
        if not url.startswith(("http://", "https://")):
            raise UserError(f"vlm:{url} must be vlm:http://HOST/v1?model=NAME, or https://.")
        self._recipe = build(VlmRecipe, dict(params), where=f"vlm:{url}")
        recipe = self._recipe
        self._prompt = _text(recipe.prompt) if recipe.prompt else _shipped()
        self._criteria = _criteria(recipe.criteria) if recipe.criteria else {}
        self.name = f"vlm {recipe.model}"
        told = {**asdict(recipe), "prompt": self._prompt, "criteria": self._criteria, "url": url}
        for patience in ("timeout", "retries", "concurrency", "per_minute", "price"):
            told.pop(patience)
        self.version = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]
        self._client = OpenAI(
            base_url=url,
            api_key=(_key(url) if key is None else key) or "none",
            timeout=recipe.timeout,
            max_retries=recipe.retries,
            # What is asked, and by whom it is answered, is for the user to decide.
            http_client=DefaultHttpxClient(follow_redirects=False),
        )
        self._unanswered = Unanswered()
        self._plain: set[str] = set()  # what the server refused: response_format, logprobs
        self._lock, self._next = Lock(), 0.0

    def judge(self, episodes: Sequence[Episode]) -> list[Appraisal]:
        """Ask for all episodes, several at a time."""
        with ThreadPoolExecutor(self._recipe.concurrency) as pool:
            return list(pool.map(self._one, episodes))

    def _one(self, episode: Episode) -> Appraisal:
        began, spent = monotonic(), _Spent()
        try:
            said = self._asked(self._messages(episode), spent)
        except _NoAnswerError as error:
            return Appraisal(
                probability=None,
                reason=str(error),
                tokens=spent.tokens,
                seconds=monotonic() - began,
            )
        sure = [each for each in said if each.word != "unsure"]
        told = [float(each.word == "yes") if each.probability is None else each.probability
                for each in sure]  # fmt: skip
        return Appraisal(
            # A majority that is unsure is an abstention.
            probability=sum(told) / len(told) if 2 * len(sure) > len(said) else None,
            votes=tuple(told),
            reason=said[0].seen or ("the model is unsure" if not sure else ""),
            tokens=spent.tokens,
            seconds=monotonic() - began,
        )

    def _asked(self, messages: list[dict[str, Any]], spent: "_Spent") -> list[Answer]:
        """Return one answer with log-probabilities, or several samples."""
        first = self._answer(messages, spent, sample=None)
        if first.word == "unsure" or first.probability is not None or self._recipe.samples == 1:
            return [first]
        return [self._answer(messages, spent, sample=k) for k in range(self._recipe.samples)]

    def _answer(
        self, messages: list[dict[str, Any]], spent: "_Spent", *, sample: int | None
    ) -> Answer:
        problem = ""
        for _ in range(1 + ASKED_AGAIN):
            content = self._request(messages, sample)
            spent.tokens += _tokens(content)
            try:
                return read_answer(*_message(content))
            except ValueError as error:
                problem = str(error)
        raise _NoAnswerError(f"{problem}, in {1 + ASKED_AGAIN} attempts")

    def _request(self, messages: list[dict[str, Any]], sample: int | None) -> Any:
        """Send one request; the client repeats it after errors, each time after a longer pause."""
        from openai import (
            APIError,
            AuthenticationError,
            BadRequestError,
            NotFoundError,
            PermissionDeniedError,
        )

        while True:
            options: dict[str, Any] = {
                "model": self._recipe.model,
                "messages": messages,
                "temperature": 0.0 if sample is None else 0.7,
                "seed": self._recipe.seed + (sample or 0),
                "max_tokens": 400,
                "response_format": SCHEMA,
                "logprobs": True,
                "top_logprobs": 5,
            }
            refused = frozenset(self._plain)
            for key in refused:
                options.pop(key, None)
            if reason := self._unanswered.reason:
                raise _NoAnswerError(reason)
            self._wait()
            answered = True
            try:
                return self._read(options)
            except BadRequestError as error:
                more = _refused(str(error), refused)
                if not more:
                    raise _NoAnswerError(f"the server refused: {str(error)[:300]}") from error
                self._plain |= more
            except (AuthenticationError, PermissionDeniedError, NotFoundError) as error:
                raise UserError(
                    f"The judge {self.name} was refused: {str(error)[:300]}. Check the model's "
                    "name (model=), the address, and the key: WORLDEVAL_TOKEN, or "
                    "WORLDEVAL_TOKEN_<HOST>, in the environment."
                ) from error
            except (APIError, OSError) as error:
                answered = False
                raise _NoAnswerError(f"{type(error).__name__}: {str(error)[:300]}") from error
            except _NoAnswerError:
                answered = False
                raise
            finally:
                self._unanswered.note(answered=answered)

    def _read(self, options: Mapping[str, Any]) -> Any:
        """Read an answer, bounded in size and time."""
        deadline, parts, size = monotonic() + self._recipe.timeout, [], 0
        create = self._client.chat.completions.with_streaming_response.create
        try:
            with create(**options) as response:
                for part in response.iter_bytes():
                    parts.append(part)
                    size += len(part)
                    if size > LARGEST:
                        raise _NoAnswerError(f"the answer has more than {LARGEST} bytes")
                    if monotonic() > deadline:
                        raise _NoAnswerError(f"no answer within {self._recipe.timeout:g} s")
        except Exception as error:
            # What the client's transport raises while an answer is read; its package's name and
            # classes differ between releases.
            if not type(error).__module__.startswith("http"):
                raise
            raise _NoAnswerError(f"{type(error).__name__}: {str(error)[:300]}") from error
        try:
            return json.loads(b"".join(parts))
        except (ValueError, RecursionError) as error:
            raise _NoAnswerError("the answer is not JSON") from error

    def _wait(self) -> None:
        """Keep below the own limit of requests per minute."""
        if not self._recipe.per_minute:
            return
        with self._lock:
            now = monotonic()
            start = max(self._next, now)
            self._next = start + 60 / self._recipe.per_minute
        sleep(start - now)

    def _messages(self, episode: Episode) -> list[dict[str, Any]]:
        text = self._prompt
        values = {
            "{task}": episode.task,
            "{criteria}": self._criteria.get(episode.task, "none beyond the instruction"),
            "{cameras}": ", ".join(episode.frames),
        }
        for key, value in values.items():
            text = text.replace(key, value)
        pictures = shown(episode, count=self._recipe.frames, layout=self._recipe.layout)
        return [{"role": "user", "content": [{"type": "text", "text": text}, *pictures]}]


@dataclass
class _Spent:
    tokens: int = 0


class _NoAnswerError(Exception):
    """The model gave no usable answer."""


def _refused(error: str, known: frozenset[str]) -> set[str]:
    """Return options that the server does not know; all optional ones if it does not say which."""
    optional = {"response_format", "logprobs", "top_logprobs", "seed"} - known
    named = {key for key in optional if key in error}
    named |= {"top_logprobs"} & optional if "logprobs" in named else set()
    return named or optional


def _message(content: Any) -> tuple[str, list[Any]]:
    """Return the text and the tokens of the first choice.

    Raises:
        ValueError: there is none, or it was cut off.
    """
    try:
        choices = content["choices"]
        if len(choices) > 1:
            raise ValueError(f"the answer has {len(choices)} choices, not one")
        choice = choices[0]
        text = choice["message"]["content"]
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError("the answer has no message") from error
    if not isinstance(text, str):
        raise ValueError("the answer's message has no text")
    if choice.get("finish_reason") not in (None, "stop"):
        raise ValueError(f"the answer was cut off ({str(choice['finish_reason'])[:40]})")
    logprobs = choice.get("logprobs")
    tokens = logprobs.get("content") if isinstance(logprobs, dict) else None
    return text, tokens if isinstance(tokens, list) else []


def _tokens(content: Any) -> int:
    usage = content.get("usage") if isinstance(content, dict) else None
    total = usage.get("total_tokens") if isinstance(usage, dict) else None
    return total if type(total) is int and 0 <= total < 10**9 else 0


def _key(url: str) -> str:
    """Return the secret for a server, from the environment; "" if none is meant for it."""
    own = os.environ.get(OPENAI_KEY, "") if host_of(url) == OPENAI else ""
    return own or token_for(url)


def _shipped() -> str:
    return resources.files("worldeval.judge.vlm").joinpath("prompt.txt").read_text()


def _text(path: str) -> str:
    try:
        text = Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"The prompt {path} cannot be read: {error}.") from error
    if "{task}" not in text:
        raise UserError(f"The prompt {path} must contain {{task}}, where the instruction goes.")
    return text


def _criteria(path: str) -> dict[str, str]:
    try:
        found = yaml.safe_load(Path(path).read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"The criteria {path} cannot be read: {error}.") from error
    if not isinstance(found, dict) or not all(isinstance(v, str) for v in found.values()):
        raise UserError(f"{path} must map every task to one text: 'open the drawer: it is open'.")
    return {str(task): text for task, text in found.items()}
