"""GGUF files as backbones: checked, then dequantised once into the cache, as a folder that transformers loads.

    folder = dequantised(Path("model.Q4_K_M.gguf"), "model.Q4_K_M.gguf")   # <cache>/gguf/1-<sha256>/

The folder holds a causal language model in bfloat16 with its tokenizer. It is keyed by the file's content and written
whole or not at all, by one process at a time; torch is imported only when something is dequantised.
"""

from __future__ import annotations

import hashlib
import logging
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from .errors import Cancelled, InputError
from .store import Progress, cache_dir, whole_folder

log = logging.getLogger(__name__)

FORMAT = 1
"""Part of a folder's name: another number where the same file gives other contents."""
MAGIC = b"GGUF"
SPARE_BYTES = 64 << 20
"""Disk space for what lies beside the weights: tokenizer and configuration."""


@dataclass(frozen=True)
class Header:
    """What a GGUF file says of itself."""

    architecture: str
    tensors: int
    values: int
    """Numbers in all tensors."""

    @property
    def bytes_needed(self) -> int:
        """Disk space that the dequantised model takes: two bytes a number, and the rest."""
        return 2 * self.values + SPARE_BYTES


def known(file: Path, name: str) -> Path | None:
    """Find the folder of a file that was dequantised before; None if it was not. Raises `InputError` for no GGUF."""
    folder = _folder(file, name)
    return folder if (folder / "config.json").is_file() else None


def dequantised(file: Path, name: str, progress: Progress | None = None) -> Path:
    """Find the folder of a dequantised file, or make it.

    Args:
        file: the GGUF file.
        name: what the user calls it, for messages.
        progress: told (done, total) tensors; by default a line on standard error.

    Raises:
        InputError: the file is missing, broken, cut short or of an architecture that transformers does not read, or
            there is no room for the result. Nothing is left behind.
    """
    if (folder := known(file, name)) is not None:
        return folder
    header = read_header(file, name)
    check_architecture(header, name)
    folder = _folder(file, name)
    with FileLock(folder.parent / ".lock"):
        if not folder.exists():  # another process may have made it meanwhile
            for left in folder.parent.glob(".*.tmp"):  # of a process that was killed: no other holds the lock
                shutil.rmtree(left, ignore_errors=True)
            check_room(header, folder.parent, name)
            with _one_sentence(name), whole_folder(folder) as new:
                _convert(file, new, header, progress or line_on_stderr(name))
    return folder


# -------------------------------------------------------------------------------------------------------------- checks


def read_header(file: Path, name: str) -> Header:
    """Read a file's own description, and see that all its tensors are there. Raises `InputError`."""
    from gguf import GGUFReader

    class Reader(GGUFReader):
        """Numpy gives less than was asked for at the end of a file; this one says so."""

        def _get(self, offset: int, dtype: Any, count: int = 1, override_order: Any = None) -> Any:
            if offset + int(count) * np.dtype(dtype).itemsize > len(self.data):
                raise EOFError
            return super()._get(offset, dtype, count, override_order)

    try:
        reader = Reader(file)
        field = reader.get_field("general.architecture")
        architecture = str(field.contents()) if field is not None else ""
        split = reader.get_field("split.count")
        parts = int(split.contents()) if split is not None else 1
    except EOFError as error:
        raise InputError(f"the GGUF file '{name}' is cut short: download it again") from error
    except (OSError, ValueError, KeyError, IndexError, TypeError, OverflowError) as error:
        raise InputError(f"the GGUF file '{name}' is broken ({_first_line(error)}): download it again") from error
    if parts > 1:
        raise InputError(f"the GGUF file '{name}' is one of {parts} parts: merge them with llama-gguf-split --merge")
    return Header(architecture, len(reader.tensors), sum(tensor.n_elements for tensor in reader.tensors))


def check_architecture(header: Header, name: str) -> None:
    """See that transformers reads this architecture from GGUF files. Raises `InputError` listing those it reads."""
    readable = architectures()
    if _plain(header.architecture) not in map(_plain, readable):
        told = f"of architecture '{header.architecture}'" if header.architecture else "of no architecture"
        raise InputError(f"the GGUF file '{name}' is {told}, which cannot be read; these can: {', '.join(readable)}")


def architectures() -> list[str]:
    """List the architectures that transformers reads from GGUF files."""
    from transformers.integrations.gguf.gguf_conversion_mapping import GGUF_ARCHS
    from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES

    return sorted({*GGUF_SUPPORTED_ARCHITECTURES, *GGUF_ARCHS} - {"general", "tokenizer"})


def _plain(architecture: str) -> str:
    """GGUF and transformers write the same name differently: "qwen2moe" and "qwen2_moe"."""
    return re.sub("[^a-z0-9]", "", architecture.lower())


def check_room(header: Header, folder: Path, name: str) -> None:
    """See that the disk has room for the dequantised model. Raises `InputError`."""
    free = shutil.disk_usage(folder).free
    if free < header.bytes_needed:
        raise InputError(
            f"dequantising '{name}' takes {header.bytes_needed / 1e9:.1f} GB in the cache, and its disk has "
            f"{free / 1e9:.1f} GB free: make room, or set POOLING_EXPLORER_HOME to a folder on another disk"
        )


# ---------------------------------------------------------------------------------------------------------- conversion


def _convert(file: Path, folder: Path, header: Header, progress: Progress) -> None:
    """Write the model, dequantised to bfloat16, and its tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
    from transformers.utils import logging as hf_logging

    hf_logging.disable_progress_bar()
    progress(0, header.tensors)
    asked: dict[str, Any] = {"gguf_file": file.name, "local_files_only": True}
    with _counted(progress):
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            file.parent,
            dtype=torch.bfloat16,  # rounded after dequantisation, tensor by tensor: half the memory of float32
            quantization_config=GgufConfig(dequantize=True),  # a plain model, which can be saved
            output_loading_info=True,
            **asked,
        )
        model, found = loaded
    if found["missing_keys"]:
        raise ValueError(f"the file has no weights for {min(found['missing_keys'])}")
    if not all(torch.isfinite(tensor).all() for tensor in model.state_dict().values()):
        raise ValueError("some of its weights are not finite numbers")
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(file.parent, **asked).save_pretrained(folder)
    progress(header.tensors, header.tensors)


@contextmanager
def _counted(progress: Progress) -> Iterator[None]:
    """Tell `progress` what transformers shows in a bar of its own, for which it has no option. Under the lock."""
    from transformers import modeling_gguf_pytorch_utils as reading

    def bar(tensors: Sequence[Any], **_: Any) -> Iterator[Any]:
        for done, tensor in enumerate(tensors):
            progress(done, len(tensors))
            yield tensor

    theirs = reading.tqdm
    reading.tqdm = bar
    try:
        yield
    finally:
        reading.tqdm = theirs


def line_on_stderr(name: str) -> Progress:
    """Progress as one line on standard error that grows."""
    shown = -1

    def show(done: int, total: int) -> None:
        nonlocal shown
        percent = 100 * done // max(1, total)
        if percent >= shown + 5 or done == total:  # a log keeps every line that a terminal overwrites
            shown, end = percent, "\n" if done == total else ""
            print(f"\rdequantising {name}: {percent} %", end=end, file=sys.stderr, flush=True)

    return show


@contextmanager
def _one_sentence(name: str) -> Iterator[None]:
    """Turn what others' code makes of a file of unknown origin into one sentence that names it."""
    try:
        yield
    except (InputError, Cancelled):
        raise
    except Exception as error:
        log.info("dequantising %s failed", name, exc_info=error)
        raise InputError(f"cannot dequantise the GGUF file '{name}': {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return next((line.strip()[:200] for line in str(error).splitlines() if line.strip()), type(error).__name__)


# -------------------------------------------------------------------------------------------------------------- naming


def _folder(file: Path, name: str) -> Path:
    """The folder of this file's content, there or not. Raises `InputError` for what is no GGUF file."""
    try:
        with file.open("rb") as opened:
            start = opened.read(len(MAGIC))
        status = file.stat()
    except OSError as error:
        raise InputError(
            f"there is no GGUF file '{name}' that can be read; on the hub: hub:OWNER/NAME/FILE.gguf"
        ) from error
    if start != MAGIC:
        raise InputError(f"'{name}' is no GGUF file: it does not begin as one")
    return cache_dir("gguf") / f"{FORMAT}-{_sha256(file.resolve(), status.st_size, status.st_mtime_ns)}"


@lru_cache(maxsize=64)
def _sha256(file: Path, size: int, changed: int) -> str:
    """Hash of a file's content; size and time of change tell a file that was replaced."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
