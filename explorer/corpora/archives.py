"""Folders and zip files: unpacked with distrust, then searched for the corpus inside.

Two layouts are known: BEIR's (corpus.jsonl, queries.jsonl, qrels/<split>.tsv) and the one that MTEB's datasets have on
the hub ([en-]corpus/<split>.jsonl, [en-]queries/<split>.jsonl, [en-]qrels/<split>.jsonl). A folder with a single
readable file is that file.
"""

from __future__ import annotations

import lzma
import os
import re
import stat
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..errors import InputError
from .formats import READABLE
from .rows import MAX_BYTES, show, show_all

MAX_MEMBERS = 1000
"""Files in a zip file or folder."""

MAX_RATIO, RATIO_FROM = 200, 50_000_000
"""Text packs about 4 times; an archive that unpacks to more than `RATIO_FROM` bytes and `MAX_RATIO` times its size is
made to harm."""

SPLITS = ("test", "dev", "validation", "train")
"""Splits in the order in which one is chosen."""


@dataclass(frozen=True)
class Layout:
    """The files of a corpus."""

    corpus: Path
    queries: Path | None = None
    qrels: Path | None = None
    notes: tuple[str, ...] = ()


# --- zip ----------------------------------------------------------------------------------------------------------


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """A temporary folder with the readable files of a zip file; it is gone when the block ends.

    Raises `InputError` for what is not a zip file, is damaged or encrypted, would unpack to more than `MAX_BYTES`, or
    has members that are links or point outside.
    """
    with tempfile.TemporaryDirectory(prefix="corpus-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        _extract(path, folder)
        yield folder


def _extract(path: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            _check_members(members, path)
            room = MAX_BYTES
            for member in members:
                if _wanted(member):
                    room -= _extract_member(archive, member, folder, room, path.name)
    except InputError:
        raise
    except zipfile.BadZipFile as error:
        raise InputError(f"{show(path.name)} is not a whole zip file; pack it again") from error
    except NotImplementedError as error:
        raise InputError(f"{show(path.name)} is packed by an unknown method; pack it again with 'deflate'") from error
    except OSError as error:
        raise InputError(f"{show(path.name)} cannot be unpacked: {error.strerror or 'damaged data'}") from error
    except (zlib.error, lzma.LZMAError, EOFError, struct.error, RuntimeError, ValueError) as error:
        raise InputError(f"{show(path.name)} is a damaged zip file; pack it again") from error


def _check_members(members: list[zipfile.ZipInfo], path: Path) -> None:
    """Everything that the table of contents gives away, before a byte is unpacked."""
    name, size = show(path.name), path.stat().st_size
    if len(members) > MAX_MEMBERS:
        raise InputError(f"{name} holds {len(members):,} files; at most {MAX_MEMBERS:,} are read")
    total = sum(member.file_size for member in members)
    if total > MAX_BYTES:
        raise InputError(f"{name} would unpack to {total:,} bytes; at most {MAX_BYTES:,} are read")
    # Measured against the file itself: members may overlap, and their declared packed sizes then add up to more.
    if total > RATIO_FROM and total > MAX_RATIO * size:
        raise InputError(f"{name} would unpack to {total // size:,} times its size; at most {MAX_RATIO} times is read")
    seen: set[str] = set()
    for member in members:
        if _leads_outside(member.filename) or _leads_outside(member.orig_filename):
            raise InputError(f"{name} holds {show(member.filename)}, a path that leads outside; pack plain file names")
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise InputError(f"{name} holds {show(member.filename)}, which is a link or no file; pack files only")
        if member.flag_bits & 0x1:
            raise InputError(f"{name} is encrypted ({show(member.filename)}); pack it without a password")
        if member.filename in seen:
            raise InputError(f"{name} holds {show(member.filename)} twice; pack every file once")
        seen.add(member.filename)


def _leads_outside(name: str) -> bool:
    parts = name.replace("\\", "/").split("/")
    return parts[0] == "" or ".." in parts or re.match("[A-Za-z]:", name) is not None


def _wanted(member: zipfile.ZipInfo) -> bool:
    parts = PurePosixPath(member.filename).parts
    hidden = any(part.startswith((".", "__MACOSX")) for part in parts)
    return not (member.is_dir() or hidden) and member.filename.lower().endswith(READABLE)


def _extract_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path, room: int, name: str) -> int:
    """Unpack one file and return its true size; `InputError` past `room` bytes, whatever size was declared."""
    target = folder.joinpath(*PurePosixPath(member.filename).parts)
    target.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with archive.open(member) as source, target.open("wb") as sink:
        while chunk := source.read(2**20):
            written += len(chunk)
            if written > min(room, member.file_size):
                raise InputError(f"{show(name)} unpacks to more than it declares; pack it again")
            sink.write(chunk)
    return written


# --- folder -------------------------------------------------------------------------------------------------------


def find_layout(folder: Path, name: str) -> Layout:
    """The corpus in a folder, at whatever depth. `name` stands for the folder in messages.

    Raises `InputError` if there is none or several, and if qrels come without queries.
    """
    files = _files(folder, name)
    found = [file for file in files if file.name == "corpus.jsonl"]
    if not found:
        found = sorted({file.parent for file in files if re.fullmatch("(.+-)?corpus", file.parent.name)})
    if len(found) > 1:
        shown = show_all(file.relative_to(folder).as_posix() for file in found)
        raise InputError(f"{show(name)} holds several corpora ({shown}); give one of them")
    if found:
        layout = _hub_layout(found[0]) if found[0].is_dir() else _beir_layout(found[0])
        if layout.qrels and not layout.queries:
            raise InputError(f"{show(name)} has qrels but no queries; add queries.jsonl beside corpus.jsonl")
        return layout
    if len(files) == 1:
        return Layout(files[0])
    there = f" ({show_all((file.name for file in files), most=5)})" if files else ""
    raise InputError(
        f"{show(name)} holds {len(files)} readable files{there}; it must hold corpus.jsonl, or exactly "
        f"one of {', '.join(READABLE)}"
    )


def _files(folder: Path, name: str) -> list[Path]:
    """All readable files below a folder, hidden ones left out, in a fixed order."""
    found: list[Path] = []
    seen = 0
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        seen += len(files) + len(folders)
        if seen > MAX_MEMBERS:
            raise InputError(f"{show(name)} holds more than {MAX_MEMBERS:,} files; give the folder of one corpus")
        found += [Path(root, f) for f in sorted(files) if not f.startswith(".") and f.lower().endswith(READABLE)]
    return found


def _beir_layout(corpus: Path) -> Layout:
    queries, (qrels, notes) = corpus.with_name("queries.jsonl"), _pick(corpus.with_name("qrels"))
    return Layout(corpus, queries if queries.is_file() else None, qrels, notes)


def _hub_layout(folder: Path) -> Layout:
    prefix = folder.name.removesuffix("corpus")
    qrels, notes = _pick(folder.with_name(f"{prefix}qrels"))
    split = _split(qrels) if qrels else None
    corpus, corpus_notes = _pick(folder, split)
    queries, queries_notes = _pick(folder.with_name(f"{prefix}queries"), split)
    if corpus is None:
        raise InputError(f"{show(folder.name)} holds no readable file; it must hold one, such as test.jsonl")
    return Layout(corpus, queries, qrels, corpus_notes + queries_notes + notes)


def _split(path: Path) -> str:
    """test of test.tsv and of test-00000-of-00001.parquet."""
    return re.sub(r"-\d{5}-of-\d{5}$", "", path.stem)


def _pick(folder: Path, prefer: str | None = None) -> tuple[Path | None, tuple[str, ...]]:
    """The file of the preferred split in a folder, none if there is no file; a note names the splits not read."""
    files = sorted(f for f in folder.glob("*") if f.suffix.lower() in READABLE and not f.name.startswith("."))
    if len(files) < 2:
        return (files[0] if files else None), ()
    splits = [_split(file) for file in files]
    for split in (prefer, *SPLITS):
        if splits.count(split or "") == 1:
            rest = ", ".join(sorted(set(splits) - {split or ""}))
            return files[splits.index(split or "")], (f"split '{split}' of {folder.name} was read, not {rest}",)
    raise InputError(f"{show(folder.name)} holds {show_all((f.name for f in files), most=5)}; keep the one to be read")
