"""Convert plain data (YAML, JSON) to frozen dataclasses; errors name the key and the reason."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import dacite
import yaml

from worldeval.errors import UserError, did_you_mean

T = TypeVar("T")


class Cleared:
    """A value that the user cleared (`--set KEY=`): None where the type allows it, else ""."""

    def __repr__(self) -> str:
        return "left empty"


CLEARED = Cleared()


def read_settings(texts: Sequence[str]) -> dict[str, Any]:
    """Read settings of a command line as values: `trainer.steps=100`; `KEY=` empties a key.

    Raises:
        UserError: a text is not `key=value`, or its value is not YAML.
    """
    settings: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not all(key.split(".")):
            raise UserError(
                f"--set {text} must have the form key=value, such as trainer.steps=100."
            )
        try:
            read = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise UserError(f"--set {text}: the value is not readable YAML.") from error
        settings.pop(key, None)  # the last one counts, also after a text that sets its parent
        settings[key] = CLEARED if read is None else read
    return settings


@dataclass(frozen=True, kw_only=True)
class RetiredKey:
    """A former key of a recipe: the value that the code now always uses, and since when."""

    value: Any
    since: str  # version of worldeval


def retired(since: str, **values: Any) -> dict[str, RetiredKey]:
    """Keys that became constants in version `since`, for a dataclass's class variable `RETIRED`.

    `build` reads such a key where it has the constant's value, as the cards of older weights do,
    and refuses every other value, so that no file's setting is ignored in silence.
    """
    return {name: RetiredKey(value=value, since=since) for name, value in values.items()}


def build(cls: type[T], raw: Mapping[str, Any], *, where: str) -> T:
    """Fill the dataclass `cls` from plain data; errors begin with `where` and name the key.

    An int or a text like `1e-3` (not a number in YAML 1.1) is accepted as a float, a list as a
    tuple, a text as a Path. A lone text never serves as a list of texts.
    """
    fitted = _fit(cls, raw, where, key="")
    hooks = {float: _as_float}
    try:
        return dacite.from_dict(
            cls, fitted, dacite.Config(strict=True, cast=[Path], type_hooks=hooks)
        )
    except dacite.MissingValueError as error:
        raise UserError(f"{where}: the key '{error.field_path}' is missing.") from error
    except (dacite.WrongTypeError, dacite.UnionMatchError) as error:
        raise _misfit(where, str(error.field_path), error.value, error.field_type) from error
    except (TypeError, ValueError) as error:  # a `__post_init__` that refuses its values
        raise UserError(f"{where}: {error}") from error


def at_least(least: float, record: object, *names: str) -> None:
    """Refuse fields of a recipe below `least`, including NaN; for a tuple, compare its length.

    Raises:
        ValueError: names the field; `build` makes it an error of the file.
    """
    for name in names:
        value = getattr(record, name)
        number = len(value) if isinstance(value, tuple) else value
        if number is not None and not number >= least:
            shown = "is empty" if isinstance(value, tuple) else f"is {value}"
            raise ValueError(f"{name} {shown}; expected {least:g} or more")


def build_known(cls: type[T], raw: Mapping[str, Any], *, where: str) -> T:
    """Fill `cls` from a file with further keys, such as notes or keys of newer versions."""
    known = {field.name for field in fields(cls) if field.init} | _retired(cls).keys()  # type: ignore[arg-type]
    return build(cls, {key: value for key, value in raw.items() if key in known}, where=where)


def _fit(wanted: Any, value: Any, where: str, key: str) -> Any:
    """Convert lists to tuples where `wanted` has tuples, and refuse unknown keys at any depth."""
    origin, inner = get_origin(wanted), get_args(wanted)
    if value is CLEARED:
        return _empty(wanted, where, key)
    if is_dataclass(wanted) and isinstance(wanted, type):
        if not isinstance(value, Mapping):
            if key and isinstance(value, wanted):
                return value
            raise _misfit(where, key, value, wanted)
        return _fit_fields(wanted, value, where, key)
    if origin in (Union, UnionType):
        return _fit_union(inner, value, where, key)
    if isinstance(origin, type) and issubclass(origin, Mapping) and isinstance(value, Mapping):
        return {k: _fit(inner[1], item, where, f"{key}.{k}") for k, item in value.items()}
    if origin in (tuple, list) or origin is Sequence:
        if not isinstance(value, list | tuple):
            raise _misfit(where, key, value, wanted)
        of_all = origin is not tuple or inner[-1:] == (...,)
        if not of_all and len(inner) != len(value):
            raise _misfit(where, key, value, wanted)
        kinds = inner[:1] * len(value) if of_all else inner
        items = [
            _fit(kind, item, where, f"{key}[{index}]")
            for index, (kind, item) in enumerate(zip(kinds, value, strict=True))
        ]
        return items if origin is list else tuple(items)
    if isinstance(value, bool) and wanted in (int, float):  # True is an int to Python alone
        raise _misfit(where, key, value, wanted)
    return value


def _empty(wanted: Any, where: str, key: str) -> Any:
    """Return the value of an empty key: None if the type allows it, else an empty text."""
    if wanted is NoneType or NoneType in get_args(wanted):
        return None
    if wanted is str:
        return ""
    raise _misfit(where, key, CLEARED, wanted)


def _fit_fields(cls: type, value: Mapping[str, Any], where: str, key: str) -> dict[str, Any]:
    types = get_type_hints(cls)
    known = [field.name for field in fields(cls) if field.init]
    prefix = f"{key}." if key else ""
    former = _retired(cls)
    for name, item in value.items():
        if name in former:
            _refuse_unless_constant(former[name], item, where, f"{prefix}{name}")
        elif name not in known:
            hint = did_you_mean(str(name), known)
            raise UserError(f"{where}: there is no key '{prefix}{name}'.{hint}")
    return {
        name: _fit(types[name], item, where, f"{prefix}{name}")
        for name, item in value.items()
        if name not in former
    }


def _retired(cls: type) -> dict[str, RetiredKey]:
    """The retired keys of a dataclass and of those that it inherits from."""
    return {
        name: key
        for base in reversed(cls.__mro__)
        for name, key in vars(base).get("RETIRED", {}).items()
    }


def _refuse_unless_constant(former: RetiredKey, value: Any, where: str, key: str) -> None:
    found = _as_float(value) if isinstance(former.value, float) else value
    found = tuple(found) if isinstance(found, list) else found
    if isinstance(found, bool) is isinstance(former.value, bool) and found == former.value:
        return
    raise UserError(
        f"{where}: '{key}' is {value!r}, but it is fixed at {former.value!r} since worldeval "
        f"{former.since}. Remove the key from a recipe; weights that were trained with another "
        "value need an older version."
    )


def _fit_union(choices: Sequence[Any], value: Any, where: str, key: str) -> Any:
    """Convert to the first choice of a union that `value` fits."""
    if value is None and NoneType in choices:
        return None
    choices = [choice for choice in choices if choice is not NoneType]
    for choice in choices[:-1]:
        try:
            return _fit(choice, value, where, key)
        except UserError:
            continue
    return _fit(choices[-1], value, where, key)


def _as_float(value: Any) -> Any:
    """Convert to a float; other values are returned unchanged, for the type check to refuse."""
    if isinstance(value, int | str) and not isinstance(value, bool):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _misfit(where: str, key: str, value: Any, wanted: Any) -> UserError:
    named = f"'{key}' is" if key else "the content is"
    return UserError(f"{where}: {named} {value!r}; expected {inspect.formatannotation(wanted)}.")
