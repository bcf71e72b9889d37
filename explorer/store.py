"""Where files live on the user's machine, and how they are written: whole or not at all.

Two directories, both outside the project:

- the cache (`cache_dir`): everything that can be computed again (embeddings, dequantised GGUF files). Safe to delete at
  any time.
- the data directory (`data_dir`): what the user made (uploaded corpora, judgments, runs).

`POOLING_EXPLORER_HOME` puts both below one folder, which the tests and a Space use.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs

CHECKPOINTS = Path(__file__).resolve().parent.parent / "checkpoints"
"""What comes with the project: trained variants and studies. Read, never written."""

Progress = Callable[[int, int], None]
"""Called with (done, total) while something long is computed."""

Cancel = threading.Event
"""Set by the user to stop; whoever computes checks it and raises `errors.Cancelled`."""


def _home(kind: str) -> Path:
    root = os.environ.get("POOLING_EXPLORER_HOME")
    if root:
        return Path(root) / kind
    base = platformdirs.user_cache_path if kind == "cache" else platformdirs.user_data_path
    return base("pooling-explorer", appauthor=False)


def cache_dir(*parts: str) -> Path:
    """Directory below the user's cache directory, made if missing."""
    path = _home("cache").joinpath(*parts)
    path.mkdir(parents=True, exist_ok=True)
    return path


def data_dir(*parts: str) -> Path:
    """Directory below the user's data directory, made if missing."""
    path = _home("data").joinpath(*parts)
    path.mkdir(parents=True, exist_ok=True)
    return path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it takes the name `path` only if the block ends without an exception."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """As `whole_file`, for a folder: an existing folder of that name is replaced only when the new one is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
    try:
        yield temporary
        temporary.chmod(0o755)
        if path.exists():
            aside = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".old.tmp", dir=path.parent))
            os.replace(path, aside / "old")
            os.replace(temporary, path)
            shutil.rmtree(aside, ignore_errors=True)
        else:
            os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def content_hash(parts: Iterable[str | bytes]) -> str:
    """Hexadecimal SHA-256 of a sequence of strings, each framed by its length so that no two sequences collide."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()
