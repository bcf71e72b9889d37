"""README's list of files, a line each, from the files' own first lines: python tests/readme_files.py writes it anew."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
BEGIN, END = "<!-- files: python tests/readme_files.py -->\n", "<!-- /files -->"
WIDTH = 30


def tree() -> str:
    """Every module of the project: its place and what it says it is."""
    lines = [_line("app.py", ROOT / "app.py")]
    for path in sorted((ROOT / "explorer").rglob("*.py"), key=_order):
        place = path.relative_to(ROOT)
        shown = (
            f"{place.parent.as_posix()}/" if path.name == "__init__.py" else "  " * (len(place.parts) - 1) + path.name
        )
        lines.append(_line(shown, path))
    return "```text\n" + "\n".join(lines) + "\n```\n"


def _order(path: Path) -> tuple[str, bool, str]:
    """A folder's own line, then its files, then the folders in it."""
    return path.parent.as_posix(), path.name != "__init__.py", path.name


def _line(shown: str, path: Path) -> str:
    said = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").splitlines()[0]
    return f"{shown:{WIDTH}} {said}"


def written() -> str:
    """README with the list as it should be."""
    text = README.read_text(encoding="utf-8")
    head, rest = text.split(BEGIN)
    return head + BEGIN + tree() + END + rest.split(END, 1)[1]


if __name__ == "__main__":
    README.write_text(written(), encoding="utf-8")
