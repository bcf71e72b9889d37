"""variant.json: what a saved variant says about itself. Read without importing torch, so that listing is instant."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from .errors import InputError

VARIANT_FILES = ("pooler*.safetensors*", "adapter", "README.md", "variant.json")
"""What a saved variant consists of; a large pooler has several files. What is copied last says that all is there."""

DTYPES = ("auto", "float32", "bfloat16", "float16")


def variant_files(folder: Path) -> list[Path]:
    """The files and folders of a saved variant that are there, variant.json last."""
    return [path for pattern in VARIANT_FILES for path in sorted(folder.glob(pattern))]


def read_record(folder: Path) -> dict[str, Any]:
    """variant.json of a saved variant; `InputError` if it is missing, broken or lacks design or backbone.

    Of "texts", "pooler" and "training" it is only seen that they are objects, where they are there.
    """
    path = folder / "variant.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"the folder '{folder.name}' is no variant: it has no variant.json") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"variant.json of '{folder.name}' is not valid JSON") from error
    if not isinstance(record, dict) or not {"design", "backbone"} <= set(record):
        raise InputError(f"variant.json of '{folder.name}' names no design or no backbone")
    for key in ("design", "backbone", "backbone_weights"):
        if not isinstance(record.get(key, ""), str):
            raise InputError(f"variant.json of '{folder.name}': \"{key}\" must be a name in quotes")
    for key in ("texts", "pooler", "training", "scores"):
        if not isinstance(record.get(key) or {}, dict):
            raise InputError(f"variant.json of '{folder.name}': \"{key}\" must be an object in braces")
    if not all(_is_number(score) for score in (record.get("scores") or {}).values()):
        raise InputError(f"variant.json of '{folder.name}': \"scores\" must be numbers")
    if not _is_number(record.get("parameters") or 0):
        raise InputError(f"variant.json of '{folder.name}': \"parameters\" must be a number")
    return record


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
