"""Takes in runs that were made elsewhere: by `study` on another machine, or by `train` (and `evaluate`).

    collect(plan, output, [Path("from-the-gpu/study")])     # a whole study, or a folder of variants
    collect(plan, output, [Path("trained/eos-causal-0")])   # one variant; its scores in evaluation/ come along

A run is taken only if it was trained as the study trains: same options, same content of the data. It is copied.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..record import variant_files
from ..store import whole_folder
from .evidence import EVALUATION, LATENCY, difference, finished_record
from .plan import Cell, StudyPlan

DEPTH = 3
"""Folders below a collected one in which runs are looked for: runs/<design>/seed-<n>."""

WEIGHTS = ("pooler*.safetensors", "adapter/adapter_model.safetensors")


def collect(plan: StudyPlan, output: Path, folders: Sequence[Path]) -> list[Cell]:
    """Copy finished runs into the study; those taken. What is there already stays as it is.

    Raises `InputError`, and takes nothing, if a folder holds no run, or one that is not of this study.
    """
    wanted: dict[Cell, tuple[Path, Mapping[str, Any]]] = {}
    for folder in folders:
        found = variants_in(folder)
        for path in found:
            record = finished_record(path)
            if record is None:
                continue  # a training that was stopped
            cell = _cell(record, path)
            if cell in plan.trained:
                wanted.setdefault(cell, (path, record))
            elif len(found) == 1:
                raise InputError(f"'{path}' is {cell.title}, which is not part of this study; add its design and seed")
        if not any(finished_record(path) for path in found) and not (folder / "baselines").is_dir():
            raise InputError(f"'{folder}' holds no finished run; give a study, a folder of variants, or a variant")
    reference = next((r for c in plan.trained if (r := finished_record(c.folder(output))) is not None), {})
    for path, record in wanted.values():
        if why := difference(record, reference, plan):
            raise InputError(f"'{path}' does not belong to this study: {why}")
        reference = reference or record
    taken = [cell for cell, (path, _) in wanted.items() if _take(path, cell.folder(output))]
    for cell in plan.untrained:
        for folder in folders:
            there = cell.folder(folder)
            if (there / EVALUATION).is_dir() and _take(there, cell.folder(output)):
                taken.append(cell)
    return taken


def variants_in(folder: Path) -> list[Path]:
    """Folders with a variant.json, the given one or some below it. Raises `InputError` if there is no such folder."""
    if not folder.is_dir():
        raise InputError(f"there is no folder '{folder}' to collect runs from")
    patterns = ["/".join(["*"] * depth + ["variant.json"]) for depth in range(DEPTH + 1)]
    return [path.parent for pattern in patterns for path in sorted(folder.glob(pattern))]


def _cell(record: Mapping[str, Any], path: Path) -> Cell:
    """Which run a variant is, by its own record."""
    seed = (record.get("training") or {}).get("seed")
    if not isinstance(seed, int):
        raise InputError(f"variant.json in '{path}' names no seed, so it cannot be a run of a study")
    return Cell(record["design"], seed)


def _take(source: Path, target: Path) -> bool:
    """Copy what a finished run consists of; scores alone where the training is there already. False: nothing new."""
    there = finished_record(target) is not None if (source / "variant.json").exists() else target.exists()
    if not there:
        with whole_folder(target) as new:
            for path in (*variant_files(source), source / EVALUATION, source / LATENCY):
                _copy(path, new / path.name)
        return True
    if (source / EVALUATION).is_dir() and not (target / EVALUATION).exists() and _same(source, target):
        with whole_folder(target / EVALUATION) as new:
            shutil.copytree(source / EVALUATION, new, dirs_exist_ok=True)
        if not (target / LATENCY).exists():
            _copy(source / LATENCY, target / LATENCY)
        return True
    return False


def _same(source: Path, target: Path) -> bool:
    """Whether two folders hold the same weights: only then do the scores of one belong to the other."""
    here, there = (
        {file.relative_to(folder): file.read_bytes() for glob in WEIGHTS for file in folder.glob(glob)}
        for folder in (source, target)
    )
    return here == there


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target)
    elif source.exists():
        shutil.copy2(source, target)
