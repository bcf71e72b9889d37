"""Exports: a variant as a folder that sentence-transformers loads without this package, and as a repository of the hub.

    export("minilm/multi-layer-bidirectional", Path("out"), shelf)
    SentenceTransformer("out", trust_remote_code=True)            # the same vectors

"merged": the adapter becomes part of the weights, and everything lies in the folder. "adapter": the folder holds
adapter and pooler alone, and the backbone comes from where it was published.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any, Literal, get_args

from .designs import Design
from .errors import InputError
from .hub import base_model, is_gguf_name, is_hub_name
from .store import whole_file, whole_folder
from .variants import Shelf, Variant

Weights = Literal["merged", "adapter"]
CODE = ("sentence_module.py", "designs.py", "errors.py", "packing.py", "pooling.py", "states.py", "token_selection.py")
"""Files that travel with an export: the module, and what it imports."""
MODULE = "sentence_module.PooledEncoderModule"
CARD = """## Use

```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("{place}", trust_remote_code=True)
vectors = model.encode(["a text"])        # {dimension} numbers each, of unit length{prompts}
```

The code that runs is in this repository: `sentence_module.py` and the files that it imports.
"""


def export(name: str, output: Path, shelf: Shelf, weights: Weights = "merged", place: str = "") -> Path:
    """Write a variant as a SentenceTransformer folder, whole or not at all. Returns the folder.

    `place`: how the model card calls it, a hub id. Raises `InputError` for what cannot be exported.
    """
    variant = shelf.find(name)
    if weights not in get_args(Weights):
        raise InputError(f"weights '{weights}' is none of: {', '.join(get_args(Weights))}")
    if variant.design is None:
        raise InputError(f"'{variant.name}' is no variant of a design here, so there is nothing of ours to export")
    if weights == "adapter" and variant.path is None:
        raise InputError(f"'{variant.name}' has no adapter; export it merged")
    if weights == "adapter" and is_gguf_name(variant.backbone):
        raise InputError(
            f"the backbone '{variant.backbone}' is no model on the hub, so an adapter alone would not load; export it "
            "merged"
        )
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise InputError(f"'{output}' is there already and not empty; give another --output")
    encoder = _in_float32(variant, shelf)
    with whole_folder(output) as new:
        _save(encoder, variant, new, weights)
        card = _card(variant, encoder, place or output.name)
        (new / "README.md").write_text(card, encoding="utf-8")
    return output


def _in_float32(variant: Variant, shelf: Shelf) -> Any:
    """The variant's encoder on a backbone of its own, on the CPU: merging changes the weights."""
    from .backbone import Backbone
    from .encoder import PooledEncoder

    assert variant.design is not None
    backbone = Backbone.load(variant.backbone, "cpu", "float32", shelf.trust_remote_code)
    if variant.path is not None:
        return PooledEncoder.load(variant.path, backbone, variant.name)
    return PooledEncoder.untrained(backbone, variant.design, variant.name)


def _save(encoder: Any, variant: Variant, folder: Path, weights: Weights) -> None:
    from sentence_transformers import SentenceTransformer

    from .sentence_module import ADAPTER, PooledEncoderModule

    backbone, texts = encoder.backbone, encoder.texts
    kind = PooledEncoderModule if weights == "merged" else _adapter_only()
    model = backbone.merged(encoder.adapter) if encoder.adapter and weights == "merged" else backbone.model
    where = variant.backbone if weights == "adapter" else ""
    design, pooler = encoder.design, encoder.pooler
    module = kind(model, backbone.tokenizer, design.name, pooler, texts.max_length, where, design.reads, texts.tokens)
    prompts = {"query": texts.query_prompt, "document": texts.document_prompt}
    made = SentenceTransformer(modules=[module], prompts=prompts, device="cpu")
    made.save(str(folder), create_model_card=False)
    if weights == "adapter" and variant.path is not None:
        shutil.copytree(variant.path / ADAPTER, folder / ADAPTER)
    for file in CODE:
        shutil.copyfile(Path(__file__).parent / file, folder / file)
    listed = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
    listed[0]["type"] = MODULE
    (folder / "modules.json").write_text(json.dumps(listed, indent=1), encoding="utf-8")


def _adapter_only() -> Any:
    """The module with a `save` that leaves out the weights; the variant's own adapter files take their place."""
    from .sentence_module import PooledEncoderModule

    class AdapterOnly(PooledEncoderModule):
        def save_weights(self, folder: Path) -> None:
            pass

    return AdapterOnly


def _card(variant: Variant, encoder: Any, place: str) -> str:
    """The variant's own model card with how to use the export; a short one where it has none."""
    texts = encoder.texts
    prompts = "\n# queries and documents have prompts: encode_query, encode_document" if texts.query_prompt else ""
    use = CARD.format(place=place, dimension=encoder.dimension, prompts=prompts)
    own = variant.path / "README.md" if variant.path else None
    if own is not None and own.exists():
        text = own.read_text(encoding="utf-8").replace(
            "library_name: pooling-explorer", "library_name: sentence-transformers"
        )
        head, mark, rest = text.partition("\n## ")
        return f"{head}\n{use}{mark}{rest}"
    assert isinstance(variant.design, Design)
    return (
        "---\nlibrary_name: sentence-transformers\npipeline_tag: sentence-similarity\n"
        f"{base_model(variant.backbone)}---\n\n# {variant.name}\n\n{variant.how}\n\n{use}"
    )


def archive(folder: Path) -> Path:
    """The folder as a zip beside it, which unpacks to a folder of that name. Stored: weights do not shrink."""
    path = folder.with_name(f"{folder.name}.zip")
    with whole_file(path) as new, zipfile.ZipFile(new, "w", zipfile.ZIP_STORED) as made:
        for file in sorted(folder.rglob("*")):
            made.write(file, Path(folder.name, file.relative_to(folder)))
    return path


def check_repository(repository: str) -> None:
    """Whether the hub can have a repository of that name. Raises `InputError`."""
    if repository.count("/") != 1 or not is_hub_name(repository):
        raise InputError(f"'{repository[:100]}' is no name of a repository on the hub; it is owner/name")


def push(folder: Path, repository: str, private: bool = True) -> str:
    """Upload an export to the hub; the address. Needs the user's own token. Raises `InputError`."""
    check_repository(repository)
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError

    api = HfApi()
    try:
        api.create_repo(repository, private=private, exist_ok=True)
        api.upload_folder(folder_path=str(folder), repo_id=repository, commit_message="Export from Pooling Explorer")
    except (HfHubHTTPError, HFValidationError, LocalTokenNotFoundError, OSError, ValueError) as error:
        first = str(error).strip().splitlines()[0][:200]
        raise InputError(f"'{repository}' could not be pushed ({first}); log in with `hf auth login`") from error
    return f"https://huggingface.co/{repository}"
