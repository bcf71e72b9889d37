"""Import of the paper's release: a LoRA adapter folder and `attn_pool.pt`, made a variant of ours.

    import_release(Path("release"), "mistralai/Mistral-7B-v0.1", "multi-layer-causal", Path("checkpoints/paper/model3"))

Files are read as tensors only (`weights_only=True`): a pickle that holds anything else is refused, never run.

What the release's code (github.com/yixuantt/PoolingAndAttn, `model_loaders/model1.py` to `model5.py`) gives its
poolers, of T tokens with the tokenizer's padding and of `hidden_states[1:]`, the last of which is after the final norm:

    Model 1   the last real token of the last layer, by the attention mask            as here
    Model 2   `last_layer[:, -1:]`: one token, the end token with padding on the left   `reads: last-token`
    Model 3   position -1 of every layer, the end token with padding on the left        as here
    Model 4   all T positions of the last layer, padding too: no mask in its pooler     masked here, see `NOTES`
    Model 5   the mean of every layer over `input_ids != pad_token_id`, prompt counted  as here, but see `pads_with_end`

Its tokenizers (Mistral's and Llama 2's) pad on the left, with the unknown token, and end every text with the end token
(`add_eos_token=True`). Others may pad on the right or add no end token: then position -1 of its Models 2 and 3 is
whatever the batch puts there, which no import can follow; here it is the end token of every text.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .backbone import UNUSED_HEAD
from .designs import Reads, design
from .encoder import TextSettings, load_tensors
from .errors import InputError
from .hub import resolve
from .instructions import BARE
from .options import without_folders
from .pooler_files import save_pooler
from .pooling import CrossAttentionPooler, from_paper_state_dict
from .store import whole_folder

POOLER_FILE = "attn_pool.pt"
PAPER_HEADS = 32
RELEASED_READS: dict[str, Reads] = {"last-layer-causal": "last-token"}
"""What the pooler of a release reads where that is not what the paper writes."""
NOTES = {
    "last-layer-bidirectional": "The release's code masks no padding in this pooler, so its vectors change with the "
    "batch; here padding is masked, which gives the vectors of its code for texts without padding."
}
"""What else a release's code does otherwise, by design; it is written into the record."""
PADS_WITH_END = (
    "The release's code tells padding by the token's id, which is the end token's here, so it leaves the end token out "
    "of its means; here it counts."
)

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
    reads: Reads | None = None,
) -> dict[str, Any]:
    """Write a release as a variant, whole or not at all.

    Args:
        adapter: the LoRA adapter's folder.
        backbone: path or hub id of the model that it was trained on.
        design_name: a design of `DESIGNS`; the paper's Model 2 is `last-layer-causal`.
        output: the variant's folder; must not exist, or be empty.
        pooler: the pooler's file; by default the one that `find_pooler` finds. Designs without a trainable pooler have
            none.
        heads: attention heads of the pooler, which its file does not tell.
        texts: length and prompts; by default as the paper's code has it, see `PAPER_TEXTS`.
        reads: what a last-layer pooler reads; by default what the release's code reads, see `RELEASED_READS`.

    Returns:
        The variant.json that was written. Its "training" names the files that were read, and their hashes.

    Raises:
        InputError: something is missing, does not fit, or is no file of tensors alone.
    """
    chosen = design(design_name)
    if reads is not None and chosen.pooling != "last-layer":
        raise InputError(f"--reads is a choice of last-layer designs alone, and {design_name} is none")
    reads = reads or RELEASED_READS.get(design_name)
    chosen = design(design_name, reads)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise InputError(f"'{output}' is there already; choose another --output")
    resolve(backbone, make=False)  # refuses what is no name
    tensors, config = read_adapter(adapter)
    made: CrossAttentionPooler | None = None
    sources = {"adapter": _sha256(_adapter_file(adapter))}
    files = {"adapter": f"{_name(adapter)}/{_adapter_file(adapter).name}"}
    notes = [NOTES[design_name]] if design_name in NOTES else []
    if chosen.states == "layer-means" and pads_with_end(adapter):
        notes.append(PADS_WITH_END)
    if chosen.trainable_pooler:
        found = find_pooler(adapter, pooler)
        made = read_pooler(found.file, heads, layers=chosen.pooling == "multi-layer", design_name=design_name)
        _check_fit(made, backbone)
        sources["pooler"], files["pooler"] = _sha256(found.file), found.shown
        notes += [found.note] if found.note else []
    elif pooler is not None:
        raise InputError(f"{design_name} has no trainable pooler, so --pooler has no place in it")
    weights = [*tensors.values(), *(made.parameters() if made else ())]
    record = {
        "design": chosen.name,
        **({"reads": chosen.reads} if chosen.pooling == "last-layer" else {}),
        "backbone": backbone,
        "texts": asdict(texts or PAPER_TEXTS),
        "pooler": asdict(made.config) if made else None,
        "parameters": sum(weight.numel() for weight in weights),
        "training": {"imported": sources, "files": files, **({"note": " ".join(notes)} if notes else {})},
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
                save_pooler(pooler, new)
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


@dataclass(frozen=True)
class PoolerFile:
    """The file of a release's pooler."""

    file: Path
    shown: str
    """Where it was, without the folders of this machine."""
    note: str = ""
    """A sentence where there was a second one, which was not used."""


def find_pooler(adapter: Path, given: Path | None = None) -> PoolerFile:
    """Find the pooler of a release: the file that was named, else in the adapter's folder, else beside it.

    The release's loaders read `<folder>/attn_pool.pt`; its trainers write `output_dir + "attn_pool.pt"`, which is
    `<folder>attn_pool.pt` beside the folder unless its name was given with a slash at the end.

    Args:
        adapter: the adapter's folder, such as `checkpoint-100`.
        given: the file that the user named.

    Returns:
        The file, how the record names it, and a note if there was one inside and one beside: inside wins.

    Raises:
        InputError: there is none in either place. That a file which was named exists is not looked at here.
    """
    if given is not None:
        return PoolerFile(given, without_folders(str(given)))
    inside, name = adapter / POOLER_FILE, _name(adapter)
    beside = Path(os.path.abspath(adapter)).with_name(f"{name}{POOLER_FILE}")
    if inside.is_file():
        unused = f"'{beside.name}' beside the folder was not used: '{name}/{POOLER_FILE}' was there as well."
        return PoolerFile(inside, f"{name}/{POOLER_FILE}", unused if beside.is_file() else "")
    if beside.is_file():
        return PoolerFile(beside, beside.name)
    raise InputError(
        f"there is no file '{POOLER_FILE}' in the folder '{name}' and no '{beside.name}' beside it; "
        "name the pooler's file with --pooler"
    )


def _name(folder: Path) -> str:
    """The folder's own name, of "." as well."""
    return os.path.basename(os.path.abspath(folder))


def pads_with_end(folder: Path) -> bool:
    """Whether the tokenizer that a release keeps beside its adapter pads with its end token; False if none is there."""
    try:
        told = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):  # a release need not keep its tokenizer, and ours comes with the backbone
        return False
    tokens = [told.get(name) if isinstance(told, dict) else None for name in ("pad_token", "eos_token")]
    pad, end = (token.get("content") if isinstance(token, dict) else token for token in tokens)
    return pad is not None and pad == end


def read_pooler(file: Path, heads: int, layers: bool, design_name: str) -> CrossAttentionPooler:
    """The pooler of a release in the precision of its file; `layers` says whether the design needs a layer matrix."""
    tensors = _load_pickled(file)
    for prefix in ("module.", "attn_pool."):
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    pooler = from_paper_state_dict(tensors, heads)
    if layers and not pooler.config.layers:
        raise InputError(f"'{file.name}' has no layer matrix (pos_emb.weight), which {design_name} needs")
    if pooler.config.layers and not layers:
        raise InputError(f"'{file.name}' has a layer matrix (pos_emb.weight), which {design_name} has no place for")
    dtypes = {tensor.dtype for tensor in tensors.values()}
    return pooler.to(dtypes.pop()) if dtypes in ({torch.bfloat16}, {torch.float16}) else pooler


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
    path = Path(resolve(backbone, make=False)) / "config.json"
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
