"""The layers of the project: nothing imports the page, the core draws nothing, one place for each heavy library."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted((ROOT / "explorer").rglob("*.py"))
HOMES = {
    "gradio": ("ui/",),
    "plotly": ("figures/",),
    "faiss": ("retrieval.py",),
    "bm25s": ("retrieval.py",),
    "umap": ("projection/",),
    "mteb": ("evaluation/", "corpora/mteb_tasks.py"),
}
"""Where each may be imported."""


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """(module with its package, whether it happens as soon as the file is imported)."""
    package = path.relative_to(ROOT).parent.parts
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((name.name, node in tree.body) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join([*start, *([node.module] if node.module else [])])
            yield base, node in tree.body
            yield from ((f"{base}.{name.name}", node in tree.body) for name in node.names)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_a_module_imports_only_what_is_below_it(path):
    place = path.relative_to(ROOT / "explorer").as_posix()
    for name, at_once in imports(path):
        library = name.split(".")[0]
        homes = HOMES.get(library)
        assert homes is None or place.startswith(homes), f"{place} imports {name}; its place is {' or '.join(homes)}"
        if library in ("mteb", "umap", "faiss", "torch") and place.startswith("ui/"):
            assert not at_once, f"{place} imports {name} before the page is served"
        if not place.startswith("ui/"):
            assert not name.startswith("explorer.ui"), f"{place} imports the page"
        if place != "__main__.py":
            assert not name.startswith("explorer.__main__"), f"{place} imports the command line"
