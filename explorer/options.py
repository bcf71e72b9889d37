"""Options made from a frozen dataclass: one a field, its docstring the help, its type checked when it is made.

Nothing here imports torch, so that the command line and the page can show all options at once.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import math
import shlex
import textwrap
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

from .errors import InputError


def without_folders(file: str) -> str:
    """Of an absolute path its last part, any other as it is: what is written down names no folder of this machine."""
    return Path(file).name if Path(file).is_absolute() else file


@cache
def field_types(cls: type) -> dict[str, Any]:
    """Field -> its type."""
    return typing.get_type_hints(cls)


@cache
def field_docs(cls: type) -> dict[str, str]:
    """Field -> the docstring under it, in one line."""
    source = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    assert isinstance(source, ast.ClassDef)
    docs: dict[str, str] = {}
    for node, after in zip(source.body, source.body[1:], strict=False):
        if isinstance(node, ast.AnnAssign) and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            assert isinstance(node.target, ast.Name)
            docs[node.target.id] = " ".join(str(after.value.value).split())
    return docs


def check_types(config: Any) -> None:
    """`InputError` if a field's value is not of its type, or is none of its names."""
    for name, kind in field_types(config.__class__).items():
        _check_type(name, getattr(config, name), kind)


def _check_type(name: str, value: Any, kind: Any) -> None:
    if typing.get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise InputError(f"{name} '{value}' is none of: {', '.join(get_args(kind))}")
        return
    if typing.get_origin(kind) is tuple:
        right = all(isinstance(part, str) and part for part in value)
    elif kind is float:
        right = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    else:
        right = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
    if not right:
        asked = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}.get(kind, "texts")
        raise InputError(f"{name} must be {asked}, not {value!r}")


# ----------------------------------------------------------------------------------------------------- command line


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number") from None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number") from None


def add_options(group: Any, cls: type, metavars: Mapping[str, str], without: Sequence[str] = ()) -> None:
    """One option a field of `cls`, but for those `without`; `metavars` names what the lists hold.

    Options that are not given are absent from the result, so that a resumed run knows them.
    """
    for field in fields(cls):
        if field.name in without:
            continue
        kind, flag = field_types(cls)[field.name], "--" + field.name.replace("_", "-")
        default = "" if field.default in (MISSING, "", ()) else f" (default: {field.default})"
        options: dict[str, Any] = {"default": argparse.SUPPRESS}
        options["help"] = (field_docs(cls)[field.name] + default).replace("%", "%%")
        if kind is bool:
            options["action"] = argparse.BooleanOptionalAction
        elif typing.get_origin(kind) is tuple:
            options |= {"nargs": "+", "metavar": metavars[field.name]}
        else:
            options |= {"type": {int: _whole, float: _number}.get(kind, str), "metavar": _metavar(kind)}
        group.add_argument(flag, **options)


def _metavar(kind: Any) -> str:
    if isinstance(kind, types.GenericAlias) or typing.get_origin(kind) is Literal:
        return "{" + ",".join(get_args(kind)) + "}"
    return {int: "N", float: "X"}.get(kind, "NAME")


def given_fields(options: argparse.Namespace, cls: type) -> dict[str, Any]:
    """The fields that the command line names."""
    return {field.name: getattr(options, field.name) for field in fields(cls) if hasattr(options, field.name)}


def command_line(command: str, config: Any, output: str) -> str:
    """The command line that runs this configuration; fields at their default are left out."""
    parts = ["python", "-m", "explorer", command]
    for field in fields(config):
        value = getattr(config, field.name)
        if value == field.default:
            continue
        flag = "--" + field.name.replace("_", "-")
        if isinstance(value, bool):
            parts.append(flag if value else flag.replace("--", "--no-", 1))
        else:
            values = [str(v) for v in value] if isinstance(value, tuple) else [str(value)]
            parts += [f"{flag}={values[0]}"] if values[0].startswith("-") else [flag, *values]
    return shlex.join([*parts, "--output", output])
