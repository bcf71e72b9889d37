"""Import of the paper's release: a LoRA adapter folder and `attn_pool.pt`, made a variant of ours.

    import_release(Path("release"), "mistralai/Mistral-7B-v0.1", "multi-layer-causal", Path("checkpoints/paper/model3"))

Files are read as tensors only (`weights_only=True`): a pickle that holds anything else is refused, never run.
"""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .backbone import UNUSED_HEAD, resolve
from .designs import design
from .encoder import TextSettings, load_tensors
from .errors import InputError
from .instructions import BARE
from .pooling import CrossAttentionPooler, from_paper_state_dict
from .store import whole_folder

POOLER_FILE = "attn_pool.pt"
PAPER_HEADS = 32

PAPER_TEXTS = TextSettings(
    max_length=512,
    query_prompt="Represent this sentence for searching relevant passages.",
    instruction_template=BARE,
)
"""How the paper's code reads texts (its model loaders, run_mteb.py, run_mteb_retrieval.py, utils.py).

512 tokens; the prompt directly before the text, with no template and nothing between; documents of retrieval without
one. The prompt is the one its loaders begin with; evaluation replaces it by each task's instruction.
"""

CAUSAL_LM = "base_model.model.model."
"""How tensors are named where the adapter was trained on a model with a language head; ours have none."""


def import_release(
    adapter: Path,
    backbone: str,
    design_name: str,
    output: Path,
    pooler: Path | None = None,
    heads: int = PAPER_HEADS,
    texts: TextSettings | None = None,
) -> dict[str, Any]:
    """Write the variant into `output`, whole or not at all; returns its variant.json.

    `texts` is by default as the paper's code has it.
    `pooler` is by default attn_pool.pt in the adapter's folder; designs without a trainable pooler have none. Its
    `heads` are not recorded in it. Raises `InputError` for what is missing, does not fit or is no tensor file.
    """
    chosen = design(design_name)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise InputError(f"'{output}' is there already; choose another --output")
    resolve(backbone)  # refuses what is no name
    tensors, config = read_adapter(adapter)
    made: CrossAttentionPooler | None = None
    sources = {"adapter": _sha256(_adapter_file(adapter))}
    if chosen.trainable_pooler:
        file = pooler or adapter / POOLER_FILE
        made = read_pooler(file, heads, layers=chosen.pooling == "multi-layer", design_name=design_name)
        _check_fit(made, backbone)
        sources["pooler"] = _sha256(file)
    elif pooler is not None:
        raise InputError(f"{design_name} has no trainable pooler, so --pooler has no place in it")
    weights = [*tensors.values(), *(made.parameters() if made else ())]
    record = {
        "design": chosen.name,
        "backbone": backbone,
        "texts": asdict(texts or PAPER_TEXTS),
        "pooler": asdict(made.config) if made else None,
        "parameters": sum(weight.numel() for weight in weights),
        "training": {"imported": sources},
        "scores": {},
    }
    config |= {"base_model_name_or_path": backbone, "inference_mode": True}
    config["exclude_modules"] = config.get("exclude_modules") or UNUSED_HEAD
    _write(output, record, tensors, config, made)
    return record


def _write(
    output: Path,
    record: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    config: Mapping[str, Any],
    pooler: CrossAttentionPooler | None,
) -> None:
    from safetensors.torch import save_file

    try:
        with whole_folder(output) as new:
            (new / "adapter").mkdir()
            save_file(dict(tensors), new / "adapter" / "adapter_model.safetensors", metadata={"format": "pt"})
            (new / "adapter" / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
            if pooler is not None:
                half = {name: tensor.half().contiguous() for name, tensor in pooler.state_dict().items()}
                save_file(half, new / "pooler.safetensors")
            (new / "variant.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"'{output}' cannot be written: {error.strerror or type(error).__name__}") from error


def _adapter_file(folder: Path) -> Path:
    """The file with the adapter's tensors."""
    if not folder.is_dir():
        raise InputError(f"there is no adapter folder '{folder}'; check the path")
    for name in ("adapter_model.safetensors", "adapter_model.bin"):
        if (folder / name).is_file():
            return folder / name
    raise InputError(f"'{folder.name}' holds no adapter: adapter_model.safetensors or adapter_model.bin is missing")


def read_adapter(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors (named as peft names them on a model without a head) and configuration of a LoRA adapter."""
    file = _adapter_file(folder)
    tensors = load_tensors(file) if file.suffix == ".safetensors" else _load_pickled(file)
    lora = {name: tensor.contiguous() for name, tensor in tensors.items() if ".lora_" in name}
    if len(lora) != len(tensors) or not lora:
        other = next((name for name in tensors if ".lora_" not in name), "nothing")
        raise InputError(f"'{file.name}' is no LoRA adapter alone: it holds '{other}'")
    if all(name.startswith(CAUSAL_LM) for name in lora):
        lora = {"base_model.model." + name.removeprefix(CAUSAL_LM): tensor for name, tensor in lora.items()}
    try:
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(
            f"'{folder.name}' holds no adapter_config.json, which says how the adapter is applied"
        ) from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"adapter_config.json in '{folder.name}' is not valid JSON") from error
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        raise InputError(f"adapter_config.json in '{folder.name}' describes no LoRA adapter")
    return lora, config


def read_pooler(file: Path, heads: int, layers: bool, design_name: str) -> CrossAttentionPooler:
    """The pooler of a release; `layers` says whether the design needs a layer matrix."""
    tensors = _load_pickled(file)
    for prefix in ("module.", "attn_pool."):
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    pooler = from_paper_state_dict(tensors, heads)
    if layers and not pooler.config.layers:
        raise InputError(f"'{file.name}' has no layer matrix (pos_emb.weight), which {design_name} needs")
    if pooler.config.layers and not layers:
        raise InputError(f"'{file.name}' has a layer matrix (pos_emb.weight), which {design_name} has no place for")
    return pooler


def _load_pickled(file: Path) -> dict[str, Tensor]:
    """A dictionary of tensors from a .pt or .bin file; nothing in it is run."""
    if not file.is_file():
        raise InputError(f"there is no file '{file}'; check the path")
    try:
        found = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise InputError(f"'{file.name}' is not a file of tensors alone, so it is not loaded") from error
    if not isinstance(found, dict) or not all(isinstance(t, Tensor) for t in found.values()) or not found:
        raise InputError(f"'{file.name}' holds no dictionary of tensors")
    return {str(name): tensor for name, tensor in found.items()}


def _check_fit(pooler: CrossAttentionPooler, backbone: str) -> None:
    """Width and layers against the backbone's configuration, where that is on this machine."""
    path = Path(resolve(backbone)) / "config.json"
    if not path.is_file():
        return
    config = json.loads(path.read_text(encoding="utf-8"))
    config = config.get("text_config") or config
    width, layers = config.get("hidden_size"), config.get("num_hidden_layers")
    if width and width != pooler.config.width:
        raise InputError(f"the pooler was made for width {pooler.config.width}, '{backbone}' has width {width}")
    if layers and pooler.config.layers and layers != pooler.config.layers:
        raise InputError(f"the pooler's layer matrix has {pooler.config.layers} rows, '{backbone}' {layers} layers")


def _sha256(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
