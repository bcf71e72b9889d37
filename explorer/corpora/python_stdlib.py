"""Built-in corpus: what the standard library of the running Python says about its public names.

One document per module, class, function, method or property that has a docstring; the id is the name under which a
programmer would import it (`shutil.rmtree`, `pathlib.Path.rmdir`), the label its top-level module.

Two readers, so that nothing is run that acts on import (`this`, `antigravity`, `turtle`):

1. the `.py` sources are parsed, never imported (`stdlib_sources`);
2. what is written in C has its docstrings only at run time: an explicit tuple of inert modules is imported for them.
"""

from __future__ import annotations

import builtins
import importlib
import inspect
import platform
import sysconfig
import types
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..errors import InputError
from . import Corpus, Document
from .judged_queries import read_queries
from .stdlib_sources import obscurity, read_docstrings

MAX_CHARACTERS = 500
"""Docstrings are cut to this at a paragraph, so that the manuals at the top of some modules do not dominate."""

MIN_CHARACTERS = 20
"""Shorter docstrings ("See class.") say nothing that can be searched."""

_SKIPPED_CLASSES = ("decimal.Context.", "pdb.Pdb.")
"""Methods left out: those of the first repeat `decimal.Decimal`, those of the second are commands of an interpreter."""

_COMPILED_MODULES = """
builtins array atexit binascii bisect bz2 cmath collections contextvars copy csv datetime decimal errno faulthandler
functools gc hashlib heapq hmac io itertools json lzma marshal math mmap operator os pickle queue random re select
signal socket sqlite3 string struct sys threading time types typing unicodedata weakref zlib zoneinfo
"""
"""Modules written in C, or with parts in C, whose import has no effect outside themselves."""


def build() -> Corpus:
    """The corpus `python-stdlib`, with its hand-written queries and judgments. About two seconds.

    Raises `InputError` where Python came without its sources (some frozen distributions).
    """
    root = Path(sysconfig.get_path("stdlib"))
    texts = read_docstrings(root)
    if not texts:
        raise InputError(f"corpus 'python-stdlib' needs the sources of the standard library, there are none in {root}")
    for name, doc in _from_compiled(_COMPILED_MODULES.split()):
        texts.setdefault(name, doc)
    documents = tuple(
        Document(id=name, title=name, text=text, label=_label(name)) for name, text in sorted(_distinct(texts).items())
    )
    queries, qrels, notes = read_queries("python_stdlib_queries.jsonl", known={d.id for d in documents})
    source = f"docstrings of the standard library of Python {platform.python_version()}"
    return Corpus("python-stdlib", documents, queries, qrels, source=source, notes=notes)


# ---- text ----------------------------------------------------------------------------------------------------------


def clean(doc: str) -> str:
    """A docstring without its indentation, cut after the last paragraph (or word) within `MAX_CHARACTERS`."""
    text = inspect.cleandoc(doc).strip()
    if len(text) <= MAX_CHARACTERS:
        return text
    head = text[: MAX_CHARACTERS + 1]
    end = head.rfind("\n\n")
    if end < MIN_CHARACTERS:
        end = max(head.rfind(" "), head.rfind("\n"))
    return head[:end].rstrip()


def _distinct(texts: dict[str, str]) -> dict[str, str]:
    """Cleaned texts without the trivial ones; of several names with one text, the most public one."""
    best: dict[str, tuple[str, str]] = {}
    for name, doc in texts.items():
        text = clean(doc)
        if len(text) < MIN_CHARACTERS or name.startswith(_SKIPPED_CLASSES):
            continue
        key = " ".join(text.split())
        if key not in best or obscurity(name) < obscurity(best[key][0]):
            best[key] = (name, text)
    return dict(best.values())


def _label(name: str) -> str:
    """Top-level module of a public name; names without a module (`sorted`, `str.split`) are builtins."""
    top = name.partition(".")[0]
    return "builtins" if hasattr(builtins, top) else top


# ---- compiled ------------------------------------------------------------------------------------------------------

_FUNCTIONS = (types.BuiltinFunctionType, types.MethodDescriptorType, types.ClassMethodDescriptorType)
"""Attributes in C are left out: most have three words ("object being awaited")."""


def _from_compiled(modules: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Public name and docstring of what is written in C, by importing; a module this platform lacks has none."""
    for name in modules:
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        prefix = "" if name == "builtins" else f"{name}."
        if module.__doc__:
            yield name, module.__doc__
        exported = getattr(module, "__all__", None)
        for key, current in sorted(vars(module).items()):
            original = vars(module).get(f"__{key}__")  # sys.excepthook may be another's, sys.__excepthook__ is not
            value = original if callable(original) else current
            if not key.startswith("_") and _belongs(name, key, value, exported):
                yield from _compiled_docs(prefix + key, value)


def _belongs(module: str, key: str, value: object, exported: Iterable[str] | None) -> bool:
    """Whether that module publishes that function or class: it lists it, or lists nothing and is its home."""
    if not isinstance(value, (*_FUNCTIONS, type)):
        return False
    home = str(getattr(value, "__module__", "") or module).lstrip("_").split(".")[0]
    return key in exported if exported is not None else home in (module, "posix", "nt") or module == "builtins"


def _compiled_docs(path: str, value: object) -> Iterator[tuple[str, str]]:
    """Docstring of a function, or of a class and of its public methods in C."""
    if isinstance(value.__doc__, str):
        yield path, value.__doc__
    if isinstance(value, type):
        for key, member in sorted(_methods(value).items()):
            if isinstance(member, (*_FUNCTIONS, staticmethod)) and isinstance(member.__doc__, str):
                yield f"{path}.{key}", member.__doc__


def _methods(cls: type) -> dict[str, object]:
    """Public members, also of private base classes: `socket.socket` has its methods from `_socket.socket`."""
    own = [cls, *(base for base in cls.__mro__[1:] if base.__module__.startswith("_"))]
    return {key: member for c in reversed(own) for key, member in vars(c).items() if not key.startswith("_")}
