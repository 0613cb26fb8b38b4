"""Settings: the fields of frozen dataclasses, shown as plain data and replaced by key=value."""

from __future__ import annotations

import ast
import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

from hollowpde.errors import InputError, nearest

T = TypeVar("T")

Plain: TypeAlias = "bool | int | float | str | list[Plain] | dict[str, Plain] | None"


def override(declared: T, assignments: Sequence[str]) -> T:
    """Replace settings by `key=value` texts; dots go into nested ones.

    Raises:
        InputError: no "=", an unknown key (the nearest is named), or a value of another type.

    >>> override(hp.MaskedMLP(), ["hidden=(32,32)", "features=8"])
    MaskedMLP(hidden=(32, 32), features=8, activation=Activation(silu), residual=False)
    """
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals:
            raise InputError(f"{assignment!r} is not a setting: write key=value.")
        declared = _replace(declared, key.strip().split("."), text.strip(), key.strip())
    return declared


def plain(value: Any) -> Plain:
    """Settings as JSON-able data: dataclasses become objects, other objects their repr."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"type": type(value).__name__, **fields}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(k): plain(item) for k, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, types.FunctionType):
        return value.__qualname__
    if hasattr(value, "shape"):
        return f"{type(value).__name__} {tuple(value.shape)}"
    return _name(value)


def flat(value: Plain, prefix: str = "") -> dict[str, str]:
    """Nested settings as `key: text`, in the spelling that `override` takes."""
    if isinstance(value, dict):
        rows: dict[str, str] = {}
        for key, item in value.items():
            if key != "type":
                rows |= flat(item, f"{prefix}.{key}" if prefix else key)
        return rows or {prefix: str(value.get("type"))}
    return {prefix: str(tuple(value) if isinstance(value, list) else value)}


def _replace(declared: T, keys: list[str], text: str, path: str) -> T:
    if not dataclasses.is_dataclass(declared) or isinstance(declared, type):
        raise InputError(f"{path!r}: a {type(declared).__name__} has no settings of its own.")
    names = [f.name for f in dataclasses.fields(declared)]
    key, *rest = keys
    if key not in names:
        raise InputError(f"unknown setting {path!r}: {nearest(key, names)}")
    old = getattr(declared, key)
    if rest:
        new = _replace(old, rest, text, path)
    else:
        new = _parse(text, typing.get_type_hints(type(declared))[key], path)
    return dataclasses.replace(declared, **{key: new})


def _parse(text: str, kind: Any, path: str) -> Any:
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        value = text
    try:
        return _coerce(value, kind)
    except TypeError:
        if not _writable(kind):
            raise InputError(
                f"{path} cannot be given on the command line: set it in the problem file."
            ) from None
        raise InputError(f"{path} must be {_describe(kind)}, but is {text!r}.") from None


def _coerce(value: Any, kind: Any) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        for option in arguments:
            try:
                return _coerce(value, option)
            except TypeError:
                continue
        raise TypeError
    if origin is tuple:
        items = value if isinstance(value, tuple | list) else (value,)
        if arguments[-1] is not Ellipsis and len(items) != len(arguments):
            raise TypeError
        each = arguments[:1] * len(items) if arguments[-1] is Ellipsis else arguments
        return tuple(_coerce(item, k) for item, k in zip(items, each, strict=True))
    if kind is type(None) and value is None:
        return None
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    # A bool is an int to Python, not to a user.
    if kind in (bool, int, float, str) and type(value) is kind:
        return value
    if kind is str:
        return str(value)
    raise TypeError


def _writable(kind: Any) -> bool:
    arguments = [a for a in typing.get_args(kind) if a is not Ellipsis]
    if arguments:
        return any(_writable(a) for a in arguments if a is not type(None))
    return kind in (bool, int, float, str)


def _describe(kind: Any) -> str:
    words = {int: "an integer", float: "a number", bool: "True or False", str: "a text"}
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return " or ".join(_describe(a) for a in arguments if _writable(a) or a is type(None))
    if origin is tuple:
        number = "several" if arguments[-1] is Ellipsis else str(len(arguments))
        return f"{number} of: {_describe(arguments[0])}, separated by commas"
    return "None" if kind is type(None) else words.get(kind, str(kind))


def _name(value: Any) -> str:
    text = repr(value)
    return type(value).__name__ if " at 0x" in text or "\n" in text else text
