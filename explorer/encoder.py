"""An encoder: texts -> unit vectors. Ours is a shared backbone, an optional adapter and a pooler.

    encoder = PooledEncoder.untrained(backbone, design("mean-bidirectional"))
    vectors = encoder.encode(["a text", "another"], kind="document")   # float32 [2, d], rows of unit length

A saved variant is a folder that describes itself: variant.json, the tensors of a trainable pooler (`pooler_files`),
adapter/ (LoRA in peft's format). Loading takes only its path and a backbone.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar, get_args

import numpy as np
import torch

from .backbone import Backbone, fingerprint, tensor_bytes
from .designs import Design, States, design
from .errors import Cancelled, InputError
from .instructions import check_template
from .pooler_files import load_pooler, save_pooler
from .pooling import CrossAttentionPooler, Pooler, PoolerConfig, build_pooler
from .precision import Precision, known_precision
from .record import read_record
from .store import Cancel, Progress, content_hash, whole_folder
from .token_selection import Tokens, counted_tokens

log = logging.getLogger(__name__)

T = TypeVar("T")
Kind = Literal["query", "document"]
OUT_OF_MEMORY = re.compile("out of memory|can't allocate memory|ALLOC_FAILED", re.IGNORECASE)
"""What a RuntimeError says when a device other than CUDA, or a library on it, has no memory left."""

BACKBONE_WEIGHTS = "backbone_weights"
"""Entry of variant.json: hash of the weights that the variant was trained on, see `weights`."""
OTHER_WEIGHTS = (
    "It was trained on other weights of '{backbone}' than are loaded here, as a dequantised file's are not the hub's "
    "own: it works, but its vectors are not quite those it was measured with."
)

WINDOW = 4096
"""Texts tokenized and sorted together: enough for tight batches, little enough for memory and an early stop."""


@dataclass(frozen=True)
class TextSettings:
    """How a text becomes tokens; part of a variant, because vectors made with other settings do not compare."""

    max_length: int = 512
    """Longer texts are cut to this many tokens; the end token is kept."""
    query_prompt: str = ""
    """Put before every query, e.g. "Instruct: …\\nQuery: "."""
    document_prompt: str = ""
    """Put before every document."""
    tokens: Tokens = "all"
    """Which tokens a mean is taken over, of the last layer or of every layer; see `token_selection`."""
    instruction_template: str = ""
    """How an instruction becomes the query prompt, with {instruction} where it goes: of a variant that was trained with
    instructions, which evaluation gives the task's. Empty: see evaluation/prompts.py."""

    def __post_init__(self) -> None:
        if not isinstance(self.max_length, int) or self.max_length < 4:
            raise InputError(f"max_length must be a whole number of at least 4 tokens, not {self.max_length!r}")
        if not all(isinstance(p, str) for p in (self.query_prompt, self.document_prompt, self.instruction_template)):
            raise InputError("a prompt must be a text")
        check_template(self.instruction_template)
        if self.tokens not in get_args(Tokens):
            raise InputError(f"tokens '{self.tokens}' is none of: {', '.join(get_args(Tokens))}")

    def prompt(self, kind: Kind) -> str:
        """The prompt of that kind of text."""
        return self.query_prompt if kind == "query" else self.document_prompt


class Encoder(Protocol):
    """What retrieval, maps and evaluation need of a model."""

    name: str
    dimension: int
    fingerprint: str

    @property
    def notes(self) -> list[str]:
        """What a user should know of how it runs here, a sentence each."""
        ...

    def key(self, kind: Kind) -> str:
        """Names everything that decides the vectors except the texts: the key of an embedding cache."""
        ...

    def encode(
        self,
        texts: Sequence[str],
        kind: Kind = "document",
        progress: Progress | None = None,
        cancel: Cancel | None = None,
    ) -> np.ndarray:
        """float32 [n, d], rows of unit length, in the order of `texts`. Raises `Cancelled`."""
        ...


class PooledEncoder:
    """One design on a shared backbone."""

    unit = False
    """Whether token states are brought to length one before the mean of a layer."""

    def __init__(
        self,
        name: str,
        backbone: Backbone,
        design: Design,
        pooler: Pooler,
        texts: TextSettings,
        adapter: str | None = None,
        precision: Precision | None = None,
    ) -> None:
        """`precision`: how it runs if that is not to be found by a comparison."""
        self.name = name
        self.backbone = backbone
        self.design = design
        self.texts = replace(texts, max_length=min(texts.max_length, backbone.max_length))
        self.adapter = adapter
        self.dimension = backbone.width
        self.fingerprint = content_hash(self._identity(pooler))
        # Small poolers stay float32; on a GPU a pooler of a billion weights follows the backbone's dtype.
        self.pooler = pooler.to(device=backbone.device, dtype=backbone.weights_dtype).eval()
        # On a CPU larger batches only overflow its caches: measured by tests/benchmarks/bench_encode.py.
        self.token_budget = 2048 if backbone.device.type == "cpu" else 32768
        self._closed = False
        self._other_weights = ""
        self._precision = precision
        for kind in get_args(Kind):
            check_room(backbone, self.texts, kind)

    def _identity(self, pooler: Pooler) -> list[str]:
        """Everything that makes this encoder another than others: weights, design, sizes."""
        parts = [self.backbone.fingerprint, self.design.pooling, self.design.attention, *self.backbone.conventions]
        if self.design.one_token:  # not named where all are read: vectors cached before there was a choice stay valid
            parts.append(self.design.reads)
        if isinstance(pooler, CrossAttentionPooler):
            parts += [pooler.config.identity(), fingerprint(pooler.state_dict())]
        if self.adapter:
            parts.append(self.backbone.adapter_fingerprint(self.adapter))
        return parts

    @classmethod
    def untrained(
        cls, backbone: Backbone, design: Design, name: str | None = None, texts: TextSettings | None = None
    ) -> PooledEncoder:
        """A design that means something without training. Refuses those whose pooler would be random."""
        if design.trainable_pooler:
            raise InputError(
                f"{design.name} has a trainable pooler: untrained it is random, so it is not shown as a result"
            )
        pooler = build_pooler(design, backbone.width, backbone.layers)
        return cls(name or design.name, backbone, design, pooler, texts or default_texts(backbone))

    @classmethod
    def load(cls, folder: Path, backbone: Backbone, name: str) -> PooledEncoder:
        """A saved variant onto a backbone that is loaded. Raises `InputError` when the two do not fit."""
        record = read_record(folder)
        chosen = design(record["design"], record.get("reads"))
        texts = from_record(TextSettings, record.get("texts") or {}, name)
        config = from_record(PoolerConfig, record["pooler"], name) if record.get("pooler") else None
        pooler = build_pooler(chosen, backbone.width, backbone.layers, config)
        if isinstance(pooler, CrossAttentionPooler):
            load_pooler(pooler, folder)
        adapter = name if (folder / "adapter").is_dir() else None
        if adapter:  # last of all: what was refused leaves no adapter behind
            backbone.add_adapter(adapter, folder / "adapter")
        encoder = cls(name, backbone, chosen, pooler, texts, adapter)
        trained_on = record.get(BACKBONE_WEIGHTS)
        if trained_on and trained_on != backbone.weights_hash:
            encoder._other_weights = OTHER_WEIGHTS.format(backbone=backbone.name)
        return encoder

    def save(self, folder: Path, half: bool = False, **record: Any) -> None:
        """Write the variant whole or not at all; `record` is added to variant.json (how it was trained, scores).

        `half`: adapter and pooler in float16, half the size; loading brings them back to the precision of serving.
        """
        described = {
            "design": self.design.name,
            **({"reads": self.design.reads} if self.design.one_token else {}),
            "backbone": self.backbone.name,
            BACKBONE_WEIGHTS: self.backbone.weights_hash,
            "texts": asdict(self.texts),
            "pooler": asdict(self.pooler.config) if isinstance(self.pooler, CrossAttentionPooler) else None,
            **record,
        }
        with whole_folder(folder) as new:
            (new / "variant.json").write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
            if isinstance(self.pooler, CrossAttentionPooler):
                save_pooler(self.pooler, new, half)
            if self.adapter:
                self.backbone.save_adapter(self.adapter, new / "adapter", half)

    def close(self) -> None:
        """Take the adapter off the backbone. A computation that is still going on ends with `InputError`."""
        if self.adapter and not self._closed:
            self.backbone.remove_adapter(self.adapter)
        if not self._closed and self._precision is not None and self._precision.used == "float32":
            self.backbone.float32_users -= 1
            if not self.backbone.float32_users:
                self.backbone.drop_full_precision()
        self._closed = True

    def key(self, kind: Kind) -> str:
        tokens = [] if self.texts.tokens == "all" else [self.texts.tokens]
        length = str(self.texts.max_length)
        return content_hash((self.fingerprint, self.texts.prompt(kind), length, self.precision.used, *tokens))

    @property
    def precision(self) -> Precision:
        """In which precision this variant runs: half precision where its vectors are those of float32.

        Found on first use by a comparison on a few texts, once a machine. Raises `InputError` if float32 fails too.
        """
        with self.backbone.lock:
            if self._precision is None:
                self._precision = known_precision(self)
                if self._precision.sentence:
                    log.warning("%s: %s", self.name, self._precision.sentence)
                if self._precision.used == "float32":
                    self.backbone.float32_users += 1
                if not self.backbone.float32_users:
                    self.backbone.drop_full_precision()
            return self._precision

    @property
    def notes(self) -> list[str]:
        """What a user should know of how it runs here, a sentence each: kernel, weights, precision. Often nothing."""
        return [*self.backbone.notes, *filter(None, [self._other_weights, self.precision.sentence])]

    @property
    def own_bytes(self) -> int:
        """Bytes that this variant adds to the backbone's: adapter and pooler."""
        adapter = self.backbone.memory().adapters.get(self.adapter, 0) if self.adapter else 0
        return adapter + tensor_bytes(list(self.pooler.parameters()))

    def states(
        self,
        ids: torch.Tensor,
        mask: torch.Tensor,
        prompts: torch.Tensor | None = None,
        *,
        read: States | None = None,
        exact: bool | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What the pooler reads of ids, mask [B, T]: states [B, n, d] and their mask [B, n].

        `prompts` [B]: tokens of each row's prompt, see `prompt_lengths`. `read`: something else than the design reads.
        """
        if self._closed:
            raise InputError(f"'{self.name}' was unloaded; load it again")
        read = read or self.design.states
        means = read == "layer-means" or self.design.means
        return self.backbone.states(
            ids,
            mask,
            attention=self.design.attention,
            read=read,
            adapter=self.adapter,
            counted=self.counted(ids, mask, prompts) if means else None,
            exact=self.precision.used == "float32" if exact is None else exact,
            unit=self.unit,
        )

    def counted(self, ids: torch.Tensor, mask: torch.Tensor, prompts: torch.Tensor | None) -> torch.Tensor:
        """Tokens [B, T] that a mean is taken over."""
        return counted_tokens(ids, mask, self.texts.tokens, self.backbone.special_tokens, prompts)

    def forward(
        self,
        ids: torch.Tensor,
        mask: torch.Tensor,
        prompts: torch.Tensor | None = None,
        exact: bool | None = None,
    ) -> torch.Tensor:
        """ids, mask [B, T] -> unit embeddings float32 [B, d]; see `states`."""
        return self.pooler(*self.states(ids, mask, prompts, exact=exact))

    def prompt_lengths(self, texts: Sequence[str], kind: Kind) -> list[int] | None:
        """Tokens of the prompt in each of the texts (prompt included), where they are left out of means; else None."""
        if self.texts.tokens != "text" or not self.texts.prompt(kind):
            return None
        return self.backbone.prompt_lengths(texts, self.texts.prompt(kind), self.texts.max_length)

    def embed(self, texts: Sequence[str], exact: bool, kind: Kind = "document") -> torch.Tensor:
        """Unit vectors float32 [n, d] of a few texts in one batch; `exact`: in float32."""
        whole = [self.texts.prompt(kind) + text for text in texts]
        ids = self.backbone.tokenize(whole, self.texts.max_length)
        return self._embed_ids(ids, self.prompt_lengths(whole, kind), exact)

    def encode(
        self,
        texts: Sequence[str],
        kind: Kind = "document",
        progress: Progress | None = None,
        cancel: Cancel | None = None,
        token_budget: int | None = None,
    ) -> np.ndarray:
        """Sorted by length and packed into batches of about `token_budget` tokens, padding counted where there is any.

        Longest texts first: if memory does not suffice this shows at once, the budget is halved and work goes on.
        """
        out = np.empty((len(texts), self.dimension), dtype=np.float32)
        prompt = self.texts.prompt(kind)
        order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
        budget = token_budget or self.token_budget
        padded = not self.backbone.packs(self.design.attention, exact=self.precision.used == "float32")
        done = 0
        for start in range(0, len(order), WINDOW):
            window = order[start : start + WINDOW]
            whole = [prompt + texts[i] for i in window]
            ids = self.backbone.tokenize(whole, self.texts.max_length)
            lengths = self.prompt_lengths(whole, kind)
            by_length = sorted(range(len(window)), key=lambda i: -len(ids[i]))
            at = 0
            while at < len(by_length):
                if cancel is not None and cancel.is_set():
                    raise Cancelled(f"stopped after {done} of {len(texts)} texts")
                batch = pack(by_length, at, ids, budget, padded)
                try:
                    some = lengths and [lengths[i] for i in batch]
                    vectors = self._embed_ids([ids[i] for i in batch], some).numpy()
                except (torch.OutOfMemoryError, RuntimeError) as error:
                    tokens = len(batch) * len(ids[batch[0]]) if padded else sum(len(ids[i]) for i in batch)
                    budget = self._smaller_budget(error, len(batch), tokens)
                    continue
                out[[window[i] for i in batch]] = vectors
                at += len(batch)
                done += len(batch)
                if progress is not None:
                    progress(done, len(texts))
                time.sleep(0)  # let a waiting request take the backbone's lock between two batches
        return out

    def _embed_ids(self, ids: list[list[int]], lengths: list[int] | None, exact: bool | None = None) -> torch.Tensor:
        """Vectors [B, d] on the CPU of one batch; `lengths`: tokens of each row's prompt."""
        with torch.inference_mode():
            prompts = None if lengths is None else torch.tensor(lengths, device=self.backbone.device)
            return self.forward(*self.backbone.pad(ids), prompts, exact).cpu()

    def _smaller_budget(self, error: RuntimeError, rows: int, tokens: int) -> int:
        """Half the tokens of the batch that ran out of memory; any other error goes on its way."""
        if not is_out_of_memory(error):
            raise error
        if rows == 1:
            raise InputError(
                f"'{self.name}' ran out of memory on a single text; shorten max_length or use a smaller backbone"
            ) from error
        if self.backbone.device.type == "cuda":
            torch.cuda.empty_cache()
        log.warning("%s: out of memory, going on with batches of %d tokens", self.name, tokens // 2)
        return tokens // 2


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether an error says that memory ran out, on whatever device."""
    return isinstance(error, torch.OutOfMemoryError) or bool(OUT_OF_MEMORY.search(str(error)))


def pack(order: Sequence[int], at: int, ids: Sequence[Sequence[int]], budget: int, padded: bool = True) -> list[int]:
    """The next batch of `order`, sorted by falling length, from position `at`: at least one row.

    Within `budget` stay rows x longest row, or without padding the tokens of all rows.
    """
    if padded:
        longest = max(1, len(ids[order[at]]))
        return list(order[at : at + max(1, budget // longest)])
    end, tokens = at + 1, len(ids[order[at]])
    while end < len(order) and (tokens := tokens + len(ids[order[end]])) <= budget:
        end += 1
    return list(order[at:end])


def check_room(backbone: Backbone, texts: TextSettings, kind: Kind) -> None:
    """Raises `InputError` for a prompt that leaves no room for a text: all texts would have one vector."""
    if texts.prompt(kind):
        used = len(backbone.tokenize([texts.prompt(kind)], backbone.max_length)[0])
        if used >= texts.max_length:
            raise InputError(
                f"the {kind} prompt takes {used} of {texts.max_length} tokens and leaves no room for a text; "
                "shorten it or raise the length"
            )


def default_texts(backbone: Backbone) -> TextSettings:
    """The length that the backbone's own sentence-transformers configuration asks for, else 512 tokens."""
    path = Path(backbone.folder) / "sentence_bert_config.json"
    length = 512
    if backbone.folder and path.is_file():
        length = json.loads(path.read_text(encoding="utf-8")).get("max_seq_length") or length
    return TextSettings(max_length=length)


def from_record(kind: type[T], values: Mapping[str, Any], name: str) -> T:
    """A part of variant.json as its dataclass; `InputError` if the entries are others than it has."""
    try:
        return kind(**values)
    except TypeError as error:
        raise InputError(f"variant.json of '{name}' does not describe its {kind.__name__}: {error}") from error


def load_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Tensors of a safetensors file; `InputError` if it is missing or broken."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"'{path.parent.name}/{path.name}' is missing or no safetensors file") from error


class SentenceTransformerEncoder:
    """Any sentence-transformers model as one more contender; its own pooling and prompts apply."""

    def __init__(self, name: str, device: str = "auto", trust_remote_code: bool = False) -> None:
        from sentence_transformers import SentenceTransformer

        from .backbone import pick_device
        from .hub import check_on_hub, loading, resolve

        where = resolve_sentence_transformer(name, resolve)
        if where == name and not Path(name).is_dir():
            check_on_hub(name)
        with loading(name):
            self.model = SentenceTransformer(
                where, device=str(pick_device(device)), trust_remote_code=trust_remote_code
            )
        self.name = name
        self.notes: list[str] = []
        self.dimension = int(self.model.get_embedding_dimension() or 0)
        self.fingerprint = fingerprint(self.model.state_dict())

    @property
    def own_bytes(self) -> int:
        """Bytes of its weights: it shares none."""
        return tensor_bytes(list(self.model.parameters()))

    def close(self) -> None:
        """Nothing is shared, so there is nothing to take off."""

    def key(self, kind: Kind) -> str:
        prompts = json.dumps(self.model.prompts, sort_keys=True)
        return content_hash((self.fingerprint, kind, prompts, str(self.model.max_seq_length)))

    def encode(
        self,
        texts: Sequence[str],
        kind: Kind = "document",
        progress: Progress | None = None,
        cancel: Cancel | None = None,
    ) -> np.ndarray:
        out = np.empty((len(texts), self.dimension), dtype=np.float32)
        encode = self.model.encode_query if kind == "query" else self.model.encode_document
        order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
        for start in range(0, len(order), 256):
            if cancel is not None and cancel.is_set():
                raise Cancelled(f"stopped after {start} of {len(texts)} texts")
            rows = order[start : start + 256]
            out[rows] = encode([texts[i] for i in rows], normalize_embeddings=True, show_progress_bar=False)
            if progress is not None:
                progress(start + len(rows), len(texts))
        return out


def resolve_sentence_transformer(name: str, resolve) -> str:
    """A folder or hub id for sentence-transformers; a cached model is taken from the cache."""
    if Path(name).is_dir() and not (Path(name) / "modules.json").is_file():
        raise InputError(f"the folder '{name}' holds no sentence-transformers model: it has no modules.json")
    return name if Path(name).is_dir() else resolve(name)
