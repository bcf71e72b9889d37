"""Vectors of single texts, kept on disk: what one task has encoded, the next one and a resumed run find.

    vectors = TextVectors(key, dimension, encode)
    vectors.get(["a text", "another"])   # float32 [2, d]; only texts never seen under this key are encoded

The key names everything that decides a vector except the text (weights, prompt, length, dtype). Texts are encoded in
blocks, longest first, and every finished block is kept, so that a stop loses at most one.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..store import Cancel, Progress, cache_dir, whole_file

log = logging.getLogger(__name__)

Encode = Callable[[Sequence[str], Progress | None, Cancel | None], np.ndarray]
"""(texts, progress, cancel) -> float32 [n, d]."""

BLOCK = 4096
DIGEST = 16
"""Bytes of a text's hash: a collision among 10^12 texts has a chance of 10^-15."""


def digest(text: str) -> bytes:
    """What a text is found by."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=DIGEST).digest()


class TextVectors:
    """One key's vectors. Not thread-safe; several processes may share the folder."""

    def __init__(self, key: str, dimension: int, encode: Encode) -> None:
        self.dimension = dimension
        self._encode = encode
        self._folder = cache_dir("embeddings", f"texts-{key[:40]}")
        self._blocks: list[np.ndarray] = []
        self._places: dict[bytes, tuple[int, int]] = {}
        self._read()

    def __len__(self) -> int:
        return len(self._places)

    def missing(self, texts: Sequence[str]) -> list[str]:
        """Those that must be encoded, each once."""
        return [text for text in dict.fromkeys(texts) if digest(text) not in self._places]

    def get(self, texts: Sequence[str], progress: Progress | None = None, cancel: Cancel | None = None) -> np.ndarray:
        """float32 [n, d] in the order of `texts`. `progress` counts the different texts, known ones included.

        Raises `Cancelled`; whole blocks stay.
        """
        missing = sorted(self.missing(texts), key=len, reverse=True)
        total = len(set(texts))
        known = total - len(missing)
        if progress is not None:
            progress(known, total)
        for start in range(0, len(missing), BLOCK):
            block = missing[start : start + BLOCK]

            def report(done: int, _: int, before: int = known + start) -> None:
                if progress is not None:
                    progress(before + done, total)

            self.add(block, self._encode(block, report, cancel))
        out = np.empty((len(texts), self.dimension), np.float32)
        for row, text in enumerate(texts):
            block_number, place = self._places[digest(text)]
            out[row] = self._blocks[block_number][place]
        return out

    def add(self, texts: Sequence[str], vectors: np.ndarray) -> None:
        """Keep vectors [n, d] of different texts on disk, and map them. `InputError` for values that are not finite."""
        if not np.isfinite(vectors).all():
            raise InputError("the model gives vectors that are not finite numbers; try --dtype float32")
        digests = [digest(text) for text in texts]
        name = hashlib.blake2b(b"".join(digests), digest_size=DIGEST).hexdigest()
        packed = np.frombuffer(b"".join(digests), np.uint8).reshape(-1, DIGEST)
        for suffix, array in ((".npy", vectors), (".ids", packed)):  # ids last: a block that has them is whole
            with whole_file(self._folder / f"{name}{suffix}") as temporary, temporary.open("wb") as file:
                np.save(file, array, allow_pickle=False)
        self._take(digests, np.load(self._folder / f"{name}.npy", mmap_mode="r", allow_pickle=False))

    def _take(self, digests: Sequence[bytes], vectors: np.ndarray) -> None:
        self._places.update(zip(digests, zip(itertools.repeat(len(self._blocks)), itertools.count()), strict=False))
        self._blocks.append(vectors)

    def _read(self) -> None:
        for ids in sorted(self._folder.glob("*.ids")):
            block = _read_block(ids, self.dimension)
            if block is None:
                log.warning("stored vectors %s are damaged and computed again", ids.stem)
                ids.unlink(missing_ok=True)
            else:
                self._take(*block)


def _read_block(ids: Path, dimension: int) -> tuple[list[bytes], np.ndarray] | None:
    """Digests and vectors (mapped, not read) of one block; None if they are damaged."""
    try:
        packed = np.load(ids, allow_pickle=False)
        vectors = np.load(ids.with_suffix(".npy"), mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError):
        return None
    if packed.ndim != 2 or packed.shape[1] != DIGEST or packed.dtype != np.uint8:
        return None
    if vectors.shape != (len(packed), dimension) or vectors.dtype != np.float32:
        return None
    return [row.tobytes() for row in packed], vectors
