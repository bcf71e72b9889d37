"""Docstrings of the standard library's Python sources, by public name, without importing anything.

Where an object lives and where it is public are two things (`pathlib._local.Path` is `pathlib.Path`,
`unittest.case.TestCase` is `unittest.TestCase`); `_Names` settles that from `__all__` and the `from` imports.
"""

from __future__ import annotations

import ast
import gc
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

_SKIPPED_MODULES = """
__main__ antigravity ensurepip encodings idlelib lib2to3 pydoc_data test tests this turtledemo
curses ntpath nturl2path pty sre_compile sre_constants sre_parse tkinter tty turtle
bdb codeop importlib.abc modulefinder opcode pickletools pyclbr rlcompleter site symtable venv zipimport
asyncio.base_subprocess asyncio.proactor_events asyncio.selector_events asyncio.sslproto asyncio.staggered
asyncio.unix_events asyncio.windows_events asyncio.windows_utils importlib.readers importlib.simple
multiprocessing.popen_spawn_win32 multiprocessing.reduction multiprocessing.resource_sharer
multiprocessing.resource_tracker email.base64mime email.charset email.errors email.headerregistry email.policy
email.quoprimime
ctypes http.cookiejar imaplib mailbox optparse poplib wsgiref xml.dom xml.parsers xml.sax xmlrpc
aifc asynchat asyncore audioop cgi cgitb chunk crypt distutils imghdr imp mailcap msilib nis nntplib ossaudiodev
pipes smtpd sndhdr spwd sunau telnetlib uu xdrlib
"""
"""Modules left out, by full name or by last part. Group by group: not a library; for one platform, or graphical; for
writers of debuggers, import hooks and the like; internals without an underscore; large and rarely used, left out to
keep the corpus small; gone in 3.12 or 3.13, so that the corpus is nearly the same on all versions."""

_SKIPPED = frozenset(_SKIPPED_MODULES.split())

_PUBLIC_MODULES = {
    "_collections_abc": "collections.abc",
    "_pydatetime": "datetime",
    "_pydecimal": "decimal",
    "_pyio": "io",
    "_threading_local": "threading",
    "_weakrefset": "weakref",
    "genericpath": "os.path",
    "posixpath": "os.path",
}
"""Top-level modules that are public under another name. `ntpath` is skipped: it repeats `posixpath`."""

_PUBLIC_OBJECTS = {"multiprocessing.context.BaseContext": "multiprocessing"}
"""The functions of `multiprocessing` are made at run time from the methods of that class."""

_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def read_docstrings(root: Path) -> dict[str, str]:
    """Public name -> docstring of everything public below `root` (the folder of the standard library).

    Where two definitions have one public name, the one in the public module counts. Empty if there are no sources.
    """
    collecting = gc.isenabled()
    gc.disable()  # millions of new nodes, none of them garbage: the collector would double the time
    try:
        names = _Names(_parse(root))
        found: dict[str, str] = {}
        for module in sorted(names.modules.values(), key=lambda m: (_public_module(m.name) != m.name, m.name)):
            for name, doc in _module_docs(names, module):
                found.setdefault(name, doc)
    finally:
        if collecting:
            gc.enable()
    return found


def obscurity(name: str) -> tuple[int, int, str]:
    """Sort key of the names of one thing: fewest dots, then shortest, then alphabetical."""
    return name.count("."), len(name), name


@dataclass(frozen=True)
class _Module:
    """One parsed source file."""

    name: str
    is_package: bool
    tree: ast.Module

    @cached_property
    def statements(self) -> list[ast.stmt]:
        """Statements that run on import, also those inside `if` and `try`."""
        return list(_flat(self.tree.body))

    @cached_property
    def definitions(self) -> dict[str, _Definition]:
        """Top-level functions and classes; of alternatives, the first with a docstring."""
        return _documented_first(s for s in self.statements if isinstance(s, _Definition))

    @cached_property
    def exported(self) -> frozenset[str] | None:
        """The names in `__all__`; None where there is none or part of it is computed."""
        names: set[str] = set()
        for statement in self.statements:
            listed = _listed(statement)
            if isinstance(listed, ast.List | ast.Tuple | ast.Constant):
                constants = (node.value for node in ast.walk(listed) if isinstance(node, ast.Constant))
                names.update(value for value in constants if isinstance(value, str))
            elif listed is not None:
                return None
        return frozenset(names) or None

    @cached_property
    def imports(self) -> list[tuple[str, str, str]]:
        """`from module import name as alias`, absolute; the name may be `*`."""
        package = self.name if self.is_package else self.name.rpartition(".")[0]
        found = []
        for statement in self.statements:
            if isinstance(statement, ast.ImportFrom):
                module = statement.module or ""
                if statement.level:
                    parts = package.split(".")
                    module = ".".join([*parts[: len(parts) - statement.level + 1], *([module] if module else [])])
                found += [(module, a.name, a.asname or a.name) for a in statement.names]
        return found

    @cached_property
    def method_aliases(self) -> dict[str, str]:
        """Bound methods published as functions: `_inst = Random(); shuffle = _inst.shuffle` in `random`."""
        classes: dict[str, str] = {}
        aliases: dict[str, str] = {}
        for statement in self.statements:
            match statement:
                case ast.Assign([ast.Name(name)], ast.Call(ast.Name(cls))) if cls in self.definitions:
                    classes[name] = cls
                case ast.Assign([ast.Name(name)], ast.Attribute(ast.Name(instance), method)) if instance in classes:
                    aliases[f"{classes[instance]}.{method}"] = name
        return aliases


def _flat(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    for statement in body:
        yield statement
        if isinstance(statement, ast.If | ast.Try | ast.With):
            yield from _flat(statement.body)
            yield from _flat(getattr(statement, "orelse", ()))
            for handler in getattr(statement, "handlers", ()):
                yield from _flat(handler.body)


def _documented_first(definitions: Iterable[_Definition]) -> dict[str, _Definition]:
    found: dict[str, _Definition] = {}
    for definition in definitions:
        known = found.get(definition.name)
        if known is None or (ast.get_docstring(known, clean=False) is None and ast.get_docstring(definition)):
            found[definition.name] = definition
    return found


def _listed(statement: ast.stmt) -> ast.expr | None:
    """What `__all__ = ...`, `__all__ += ...` or `__all__.extend(...)` puts there; None for any other statement."""
    match statement:
        case ast.Assign([ast.Name("__all__")], value) | ast.AugAssign(ast.Name("__all__"), value=value):
            return value
        case ast.Expr(ast.Call(ast.Attribute(ast.Name("__all__")), [value])):
            return value
    return None


def _parse(root: Path) -> dict[str, _Module]:
    """All modules below `root` that can be public, by the name they are imported by."""
    modules = {}
    for folder, folders, files in os.walk(root):
        package = Path(folder).relative_to(root).parts
        folders[:] = [name for name in folders if _is_candidate((*package, name))]  # in place: not walked into
        for file in files:
            stem, ending = os.path.splitext(file)
            parts = package if stem == "__init__" else (*package, stem)
            if ending == ".py" and parts and _is_candidate(parts):
                tree = ast.parse(Path(folder, file).read_bytes())
                modules[".".join(parts)] = _Module(".".join(parts), stem == "__init__", tree)
    return modules


def _is_candidate(parts: tuple[str, ...]) -> bool:
    """Whether a module may have public names: it is private itself at most as the last part of a package."""
    top = parts[0]
    internal = top.startswith("_") and top != "__future__" and top not in _PUBLIC_MODULES
    internal = internal or any(part.startswith("_") for part in parts[1:-1])
    return parts[-1].isidentifier() and not internal and _SKIPPED.isdisjoint((parts[-1], ".".join(parts)))


def _public_module(name: str) -> str:
    """`concurrent.futures._base` -> `concurrent.futures`, `_pyio` -> `io`."""
    top, *rest = name.split(".")
    return ".".join([_PUBLIC_MODULES.get(top, top), *(part for part in rest if not part.startswith("_"))])


class _Names:
    """Where the top-level definitions of the parsed modules are public."""

    def __init__(self, modules: dict[str, _Module]) -> None:
        self.modules = modules
        self.public: dict[tuple[str, str], str] = {}
        for module in modules.values():
            for name in module.definitions:
                if self._visible(module, name):
                    self._offer(module.name, name, f"{_public_module(module.name)}.{name}")
        for module in modules.values():
            self._offer_imports(module)

    def _visible(self, module: _Module, name: str) -> bool:
        """Whether the module that it is public in lists it, or lists nothing and it has no underscore."""
        official = self.modules.get(_public_module(module.name), module)
        exported = official.exported or module.exported
        return not name.startswith("_") and (exported is None or name in exported)

    def _offer(self, module: str, name: str, public: str) -> None:
        known = self.public.get((module, name), public)
        self.public[module, name] = min(known, public, key=obscurity)

    def _offer_imports(self, module: _Module) -> None:
        """Names that a module publishes for another one of its own top-level package."""
        public = _public_module(module.name)
        for source, name, alias in module.imports:
            origin = self.modules.get(source)
            if origin is None or _public_module(source).split(".")[0] != public.split(".")[0]:
                continue
            if name == "*":
                for each in origin.definitions:
                    if self._visible(origin, each):
                        self._offer(source, each, f"{public}.{each}")
            elif name in origin.definitions and self._publishes(module, source, alias):
                self._offer(source, name, f"{public}.{alias}")

    def _publishes(self, module: _Module, source: str, alias: str) -> bool:
        """An import is a publication if `__all__` has it or a package takes it from its own module."""
        if module.exported is None and not (module.is_package and source.startswith(module.name + ".")):
            return False
        return self._visible(module, alias)

    def find(self, module: _Module, name: str) -> tuple[_Module, _Definition] | tuple[None, None]:
        """Where what `module` calls `name` is defined, if in one of the parsed modules."""
        if name in module.definitions:
            return module, module.definitions[name]
        for source, original, alias in module.imports:
            origin = self.modules.get(source)
            if alias == name and origin is not None and original in origin.definitions:
                return origin, origin.definitions[original]
        return None, None


def _module_docs(names: _Names, module: _Module) -> Iterator[tuple[str, str]]:
    doc = ast.get_docstring(module.tree, clean=False)
    if doc:
        yield _public_module(module.name), doc
    for name, definition in module.definitions.items():
        public = names.public.get((module.name, name))
        if public is None:
            continue
        for qualified, text in _docs(names, module, definition, name):
            alias = module.method_aliases.get(qualified)
            path = f"{_public_module(module.name)}.{alias}" if alias else public + qualified[len(name) :]
            for prefix, shorter in _PUBLIC_OBJECTS.items():
                path = shorter + path[len(prefix) :] if path.startswith(prefix + ".") else path
            yield path, text


def _docs(names: _Names, module: _Module, definition: _Definition, path: str) -> Iterator[tuple[str, str]]:
    """Docstrings of a function, or of a class and its public members, with their names within the module."""
    doc = ast.get_docstring(definition, clean=False)
    if doc:
        yield path, doc
    if isinstance(definition, ast.ClassDef):
        for name, (home, member) in _members(names, module, definition).items():
            yield from _docs(names, home, member, f"{path}.{name}")


def _members(names: _Names, module: _Module, cls: ast.ClassDef) -> dict[str, tuple[_Module, _Definition]]:
    """Public members of a class that have a docstring, with those of base classes that are not public themselves.

    In 3.13 much of `pathlib.Path` is inherited from the private `pathlib._abc.PathBase`. What a public base class has
    too (`PurePath.name`) is left to that one.
    """
    own = [s for s in _flat(cls.body) if isinstance(s, _Definition) and not s.name.startswith("_")]
    members: dict[str, tuple[_Module, _Definition]] = {
        name: (module, definition)
        for name, definition in _documented_first(own).items()
        if ast.get_docstring(definition, clean=False) or isinstance(definition, ast.ClassDef)
    }
    inherited: dict[str, tuple[_Module, _Definition]] = {}
    elsewhere: set[str] = set()
    for base in cls.bases:
        home, definition = names.find(module, base.id if isinstance(base, ast.Name) else getattr(base, "attr", ""))
        if home is None or not isinstance(definition, ast.ClassDef) or definition is cls:
            continue
        theirs = _members(names, home, definition)
        if (home.name, definition.name) in names.public:
            elsewhere.update(theirs)
        else:
            inherited = {**theirs, **inherited}
    return {**{name: member for name, member in inherited.items() if name not in elsewhere}, **members}
