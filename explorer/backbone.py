"""The backbone: one pretrained transformer whose weights all its variants share.

A forward runs under the backbone's lock, because adapter and attention mode are state of the one model:

    backbone = Backbone.load("sentence-transformers/all-MiniLM-L6-v2")
    batch = backbone.pad(backbone.tokenize(["a text"]))
    states, mask = backbone.states(*batch, attention="causal", read="layer-eos")

Hidden states of all layers are never kept: hooks take one vector a layer while the forward passes.
"""

from __future__ import annotations

import gc
import hashlib
import json
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from .attention_check import verify_attention
from .designs import DEFAULT_BACKBONE, Attention, States
from .errors import InputError
from .hub import check_on_hub, loading, resolve
from .precision import OVERFLOWS_IN_FLOAT16, FullPrecision
from .record import DTYPES
from .states import StateReader
from .store import Progress
from .token_selection import prompt_length
from .weights import weights_hash

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

log = logging.getLogger(__name__)

UNUSED_HEAD = r"pooler.*"
"""BERT's head, which no embedding uses: taken off here, excluded where others load our adapters."""
FINAL_NORMS = ("norm", "ln_f", "final_layernorm", "final_layer_norm")
"""What decoders of transformers call the norm after their last layer."""


# ------------------------------------------------------------------------------------------------------ device, dtype


def pick_device(device: str = "auto") -> torch.device:
    """CUDA, else MPS, else CPU; `InputError` for a device that is not there."""
    if device == "auto":
        return torch.device(
            "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        )
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device '{device}' is not available here; valid: auto, cpu, cuda, cuda:N, mps") from error
    return chosen


def pick_dtype(dtype: str, device: torch.device, model_type: str = "") -> torch.dtype:
    """bfloat16 where the hardware multiplies it natively, else float32 (float16 on MPS and older GPUs).

    A model of a type that is known to overflow in float16 gets float32 there, unless float16 is asked for by name.
    """
    if dtype not in DTYPES:
        raise InputError(f"dtype '{dtype}' is none of: {', '.join(DTYPES)}")
    if dtype != "auto":
        return getattr(torch, dtype)
    if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.bfloat16
    if device.type in ("cuda", "mps"):
        return torch.float32 if model_type in OVERFLOWS_IN_FLOAT16 else torch.float16
    # mkldnn also emulates bf16 on CPUs without the instructions, slower than float32: ask for the instructions.
    native = torch.backends.mkldnn.is_available() and (
        torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    )
    return torch.bfloat16 if native else torch.float32


def dtype_name(dtype: torch.dtype) -> str:
    """'bfloat16' for torch.bfloat16."""
    return str(dtype).removeprefix("torch.")


# ----------------------------------------------------------------------------------------------------------- tokenizer


def ends_itself(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the tokenizer closes every text with an end token (eos or sep)."""
    ids = tokenizer("x").input_ids
    ends = {tokenizer.eos_token_id, tokenizer.sep_token_id} - {None}
    return bool(ids) and ids[-1] in ends


def prepare_tokenizer(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """Make every text end with the end token, also when it is cut, and give the tokenizer a padding token.

    A language model's tokenizer often adds no end token; setting `add_eos_token` alone makes some drop the beginning
    token, so that is set to what it was. Raises `InputError` if the tokenizer has no end token at all.
    """
    if not ends_itself(tokenizer):
        began = tokenizer.bos_token_id is not None and tokenizer("x").input_ids[:1] == [tokenizer.bos_token_id]
        if tokenizer.eos_token_id is None:
            raise InputError("the tokenizer of this backbone has no end token, which every design here needs")
        tokenizer.add_bos_token = began
        tokenizer.add_eos_token = True
        if not ends_itself(tokenizer) or (began and tokenizer("x").input_ids[0] != tokenizer.bos_token_id):
            append_end_token(tokenizer)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.unk_token or tokenizer.eos_token or tokenizer.sep_token
    return tokenizer


def append_end_token(tokenizer: PreTrainedTokenizerBase) -> None:
    """Close texts through the post-processor, for fast tokenizers that ignore `add_eos_token` (GPT-2, Qwen2)."""
    from tokenizers.processors import Sequence as Chain
    from tokenizers.processors import TemplateProcessing

    fast = getattr(tokenizer, "backend_tokenizer", None)
    if fast is None:
        raise InputError("the tokenizer of this backbone cannot be made to end texts with its end token")
    end = tokenizer.eos_token
    close = TemplateProcessing(
        single=f"$A {end}", pair=f"$A {end} $B {end}", special_tokens=[(end, tokenizer.eos_token_id)]
    )
    fast.post_processor = Chain([fast.post_processor, close]) if fast.post_processor is not None else close
    if not ends_itself(tokenizer):
        raise InputError("the tokenizer of this backbone cannot be made to end texts with its end token")


# ------------------------------------------------------------------------------------------------------------ backbone


@dataclass(frozen=True)
class Memory:
    """Bytes of the backbone's own weights and of every adapter on it."""

    weights: int
    adapters: dict[str, int]


@dataclass(frozen=True)
class Span:
    """One token and the characters of the text that it stands for: [start, end); special tokens stand for none."""

    id: int
    start: int
    end: int
    special: bool


def tensor_bytes(tensors: Iterator[Tensor] | Sequence[Tensor]) -> int:
    """Bytes of these tensors."""
    return sum(t.numel() * t.element_size() for t in tensors)


class Backbone:
    """A transformer with its tokenizer, device and dtype; adapters come and go, the weights stay one copy.

    Thread-safe: `states` takes the lock. In half precision on a CPU only matrix products run in it (autocast), all else
    stays float32: closer to float32 than a model in bfloat16, measured 0.99997 against 0.99994 cosine, at nearly the
    same speed. On a GPU all weights are in half precision.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        name: str,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        original: Callable[[], PreTrainedModel] | None = None,
    ) -> None:
        """`original` loads the model again in float32, for what half precision cannot do; see `FullPrecision`."""
        model = bare(model).eval()
        self.name = name
        self.device = torch.device(device)
        self.dtype = dtype
        self.autocast = self.device.type == "cpu" and dtype != torch.float32
        self.weights_dtype = torch.float32 if self.autocast else dtype
        self.model = model.to(device=self.device, dtype=self.weights_dtype).eval()  # type: ignore[call-arg]
        self.model.requires_grad_(False)
        self.tokenizer = prepare_tokenizer(tokenizer)
        self.lock = threading.RLock()
        self._tokenizer_lock = threading.Lock()  # truncation settings are state of the fast tokenizer
        self.config = model.config.get_text_config()
        self.width: int = self.config.hidden_size
        self.layers: int = self.config.num_hidden_layers
        self.reader = StateReader(model, self.dtype if self.autocast else self.weights_dtype, self.autocast)
        self.decoder = self.reader.decoder
        self.fingerprint = fingerprint(model.state_dict())
        self._weights_hash = weights_hash(model.state_dict())
        self._original = original
        self.folder = ""
        """Where its files are; empty for a model that was made here."""
        self.notes: list[str] = []
        """What a user should know of how it runs here, a sentence each."""
        self.float32_users = 0
        """Loaded variants that run in float32 on a backbone in half precision."""
        self._full = FullPrecision(model, self.dtype, self.autocast, original)
        self._peft: Any = None
        self._adapters: dict[str, str] = {}  # our name -> key in peft (module names may not hold dots)
        self._count = 0
        self._active: str | None = None
        self._verified: set[tuple[Attention, bool]] = set()

    @classmethod
    def load(
        cls,
        name: str = DEFAULT_BACKBONE,
        device: str = "auto",
        dtype: str = "auto",
        trust_remote_code: bool = False,
        attention_kernel: Literal["sdpa", "eager"] | None = None,
        progress: Progress | None = None,
    ) -> Backbone:
        """Load a model.

        Args:
            name: a folder, a GGUF file, `hub:OWNER/NAME/FILE.gguf` or a hub id, see `hub.resolve`.
            device: auto, cpu, cuda, cuda:N or mps.
            dtype: one of `record.DTYPES`.
            trust_remote_code: run code that comes with a hub model.
            attention_kernel: by default the fused one, where the model can be run with it.
            progress: told (done, total) tensors while a GGUF file is dequantised, which happens once.

        Raises:
            InputError: it cannot be loaded; one sentence says why.
        """
        from transformers import AutoConfig, AutoModel, AutoTokenizer
        from transformers.utils import logging as hf_logging

        hf_logging.disable_progress_bar()
        where = resolve(name, progress=progress)
        chosen_device = pick_device(device)
        options: dict[str, Any] = {
            "trust_remote_code": trust_remote_code,
            "local_files_only": where != name or os.path.isdir(name),
        }
        if where == name and not os.path.isdir(name):
            check_on_hub(name)
        with loading(name):
            config = AutoConfig.from_pretrained(where, **options)
            chosen_dtype = pick_dtype(dtype, chosen_device, config.model_type)

            def read(weights: torch.dtype, kernel: str) -> PreTrainedModel:
                return AutoModel.from_pretrained(
                    where, config=config, dtype=weights, attn_implementation=kernel, use_safetensors=True, **options
                )

            weights, kernel = torch.float32 if chosen_device.type == "cpu" else chosen_dtype, attention_kernel or "sdpa"
            try:
                model = read(weights, kernel)
            except ValueError as error:
                if attention_kernel or "scaled_dot_product_attention" not in str(error):
                    raise
                kernel = "eager"  # Gemma 2 caps its attention scores, MPNet adds to them: only plain products do that
                model = read(weights, kernel)
            tokenizer = AutoTokenizer.from_pretrained(where, **options)
        made = cls(model, tokenizer, name, chosen_device, chosen_dtype, lambda: read(torch.float32, kernel))
        made.folder = where if os.path.isdir(where) else resolve(name)  # downloaded now, it is in the hub cache
        if kernel == "eager" and not attention_kernel:
            made.notes.append(
                f"Attention of {config.model_type} models is computed by plain products: torch's fused kernel does not "
                "have what it needs, so it takes more time and memory."
            )
        return made

    @cached_property
    def weights_hash(self) -> str:
        """Hash of its weights as they were published, without adapters and in whatever precision; see `weights`."""
        if self.weights_dtype == torch.float16 and self._original is not None:  # float16 may have rounded them
            return weights_hash(bare(self._original()).state_dict())
        return self._weights_hash

    @property
    def conventions(self) -> list[str]:
        """What decides vectors beside the weights, where it is not the usual: part of what names cached vectors."""
        found = [f"positions from {self.reader.position_offset}"] if self.reader.position_offset else []
        windowed = self.decoder and getattr(self.config, "sliding_window", None)
        return found + (["window of equal reach"] if windowed else [])

    @property
    def max_length(self) -> int:
        """Longest text in tokens that the backbone's positions allow."""
        positions = getattr(self.config, "max_position_embeddings", None) or 512
        return min(positions - self.reader.position_offset, self.tokenizer.model_max_length)

    # -- text to tokens

    def tokenize(self, texts: Sequence[str], max_length: int | None = None) -> list[list[int]]:
        """Token ids of every text, unpadded, cut to `max_length` with the end token kept.

        Special tokens spelled out in a text ("</s>") stay plain text; half a surrogate pair becomes "?".
        """
        length = min(max_length or self.max_length, self.max_length)
        sound = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
        with self._tokenizer_lock:
            encoded = self.tokenizer(
                sound, truncation=True, max_length=length, split_special_tokens=True, return_attention_mask=False
            )
        return encoded.input_ids

    def spans(self, text: str, max_length: int | None = None) -> list[Span]:
        """The tokens of one text as `tokenize` cuts it, each with its place in the text.

        A tokenizer without offsets (not a fast one) gives tokens without places.
        """
        length = min(max_length or self.max_length, self.max_length)
        sound = text.encode("utf-8", "replace").decode("utf-8")
        with self._tokenizer_lock:
            encoded = self.tokenizer(
                sound,
                truncation=True,
                max_length=length,
                split_special_tokens=True,
                return_special_tokens_mask=True,
                return_offsets_mapping=self.tokenizer.is_fast,
            )
        places = encoded.get("offset_mapping") or [(0, 0)] * len(encoded.input_ids)
        rows = zip(encoded.input_ids, places, encoded.special_tokens_mask, strict=True)
        return [Span(id, place[0], place[1], bool(special)) for id, place, special in rows]

    def prompt_lengths(self, texts: Sequence[str], prompt: str, max_length: int | None = None) -> list[int]:
        """How many tokens of each text belong to the prompt that it begins with; a token that holds both does not.

        `texts`: prompt included, cut as `tokenize` cuts them.
        """
        if not prompt:
            return [0] * len(texts)
        if not self.tokenizer.is_fast:  # no offsets: the prompt by itself, without its end token
            return [len(self.tokenize([prompt], max_length)[0]) - 1] * len(texts)
        found = []
        for text in texts:
            spans = self.spans(text, max_length)
            found.append(prompt_length([(s.start, s.end) for s in spans], [s.special for s in spans], len(prompt)))
        return found

    @cached_property
    def special_tokens(self) -> list[int]:
        """Ids of special tokens, such as beginning and end; text never gives one, see `tokenize`."""
        return list(self.tokenizer.all_special_ids)

    def drop_full_precision(self) -> None:
        """Free float32 weights that were made beside half precision; they are made again when asked for."""
        with self.lock:
            self._full.drop()

    def pad(self, ids: Sequence[Sequence[int]], side: Literal["left", "right"] = "right") -> tuple[Tensor, Tensor]:
        """ids [B, T] and mask [B, T] on the device. The mask comes from lengths, never from token ids."""
        longest = max(len(row) for row in ids)
        tokens = torch.full((len(ids), longest), self.tokenizer.pad_token_id or 0, dtype=torch.long)
        mask = torch.zeros((len(ids), longest), dtype=torch.long)
        for i, row in enumerate(ids):
            span = slice(0, len(row)) if side == "right" else slice(longest - len(row), longest)
            tokens[i, span] = torch.tensor(row)
            mask[i, span] = 1
        return tokens.to(self.device), mask.to(self.device)

    # -- tokens to states

    def packs(self, attention: Attention, exact: bool = False) -> bool:
        """Whether batches are computed without padding; see `states`. Raises `InputError` as that does."""
        with self.lock, self._full.used(exact, self.reader):
            self._verify(attention, exact)
            return self.reader.packs(attention)

    def states(
        self,
        ids: Tensor,
        mask: Tensor,
        *,
        attention: Attention,
        read: States,
        adapter: str | None = None,
        counted: Tensor | None = None,
        exact: bool = False,
        unit: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """What a pooler reads: states [B, n, d] and their mask [B, n]; n = T tokens or L layers (numbered 1..L).

        ids, mask [B, T]. The last layer's state is the one after the model's final norm where it has one (decoders),
        earlier layers' are raw, as in the paper. `counted` [B, T]: the tokens that means are taken over, or their
        weights, all real ones alike if it is None; `unit`: token states are brought to length one before the mean of a
        layer. `exact`: in float32, whatever the backbone's precision. Gradients flow if the caller has them enabled.
        Raises `InputError` if the backbone cannot run with this attention or has no such adapter.
        """
        with self.lock, self._full.used(exact, self.reader):
            self._verify(attention, exact)
            self._activate(adapter)
            return self.reader.states(ids, mask, attention, read, counted, unit)

    def each_layer(
        self,
        ids: Tensor,
        mask: Tensor,
        attention: Attention,
        take: Callable[[int, Tensor], Tensor],
        adapter: str | None = None,
    ) -> list[Tensor]:
        """What `take` makes of each layer's number and states [B, T, d], layer 1 first. Raises `InputError`."""
        with self.lock:
            self._verify(attention)
            self._activate(adapter)
            return self.reader.each_layer(ids, mask, attention, take)

    def next_tokens(self, ids: Tensor, mask: Tensor, adapter: str | None = None) -> Tensor:
        """The likeliest next token after every token by every layer's state: ids [B, L, T], under causal attention.

        A state goes through the final norm and the word embeddings, which models with tied embeddings also use at their
        end (nostalgebraist's "logit lens", 2020). Raises `InputError` if this model has no such end.
        """
        head, norm = self.word_head()
        words = head.to(self.dtype).T

        def guess(layer: int, states: Tensor) -> Tensor:
            normed = states if layer == self.layers else norm(states)
            # Row by row: the scores of a vocabulary of 150,000 tokens are large.
            return torch.stack([row.to(words.dtype).matmul(words).argmax(-1) for row in normed])

        with torch.inference_mode():
            return torch.stack(self.each_layer(ids, mask, "causal", guess, adapter), dim=1)

    def word_head(self) -> tuple[Tensor, nn.Module]:
        """Word embeddings [V, d] and final norm of a language model whose two ends share their embeddings.

        Raises `InputError` for any other model: what it would write next is not in the weights loaded here.
        """
        norm = next((m for m in (getattr(self.model, name, None) for name in FINAL_NORMS) if m is not None), None)
        if not self.decoder or norm is None or not self.config.tie_word_embeddings:
            raise InputError(
                f"the backbone '{self.name}' does not tell which token comes next: only language models with tied word "
                "embeddings do here"
            )
        return self.model.get_input_embeddings().weight, norm

    def _verify(self, attention: Attention, exact: bool = False) -> None:
        """Check once that this attention is what comes out; see `attention_check`."""
        if (attention, exact) not in self._verified:
            ids = torch.tensor(self.tokenize(["one two three four"])[0], device=self.device)
            verify_attention(self.reader, ids, attention, self.name)
            self._verified.add((attention, exact))

    # -- adapters

    def add_adapter(self, name: str, folder: Path | str) -> None:
        """Load a LoRA adapter (safetensors, peft format) under `name`. Raises `InputError` if it does not fit."""
        from peft import PeftConfig, PeftModel
        from safetensors import SafetensorError

        if not (Path(folder) / "adapter_model.safetensors").is_file():
            raise InputError(f"the folder '{Path(folder).name}' holds no adapter: adapter_model.safetensors is missing")
        with self.lock:
            if name in self._adapters:
                raise InputError(f"an adapter named '{name}' is loaded already")
            key = f"adapter{self._count}"
            self._count += 1
            try:
                config = PeftConfig.from_pretrained(str(folder))
                config.inference_mode = True
                if config.exclude_modules == UNUSED_HEAD:
                    config.exclude_modules = None  # it is not here, and peft warns of what it cannot exclude
                if self._peft is None:
                    self._peft = PeftModel(self.model, config, key)
                else:
                    self._peft.add_adapter(key, config)
                mapping = getattr(self.model, "_checkpoint_conversion_mapping", None)
                found = self._peft.load_adapter(folder, key, torch_device=str(self.device), key_mapping=mapping)
                # Adapters of BERT may cover its unused head, which we leave out. For anything else peft only warns.
                stray = [*found.missing_keys, *(k for k in found.unexpected_keys if ".pooler." not in k)]
                if stray:
                    raise ValueError(f"its tensors and the model's layers have different names, such as {stray[0]}")
            except (RuntimeError, ValueError, KeyError, TypeError, AttributeError, OSError, SafetensorError) as error:
                self._drop(key)
                reason = " ".join(str(error).split())[:200]
                raise InputError(
                    f"the adapter of '{name}' does not fit the backbone '{self.name}': {reason}"
                ) from error
            finally:
                self._active = "?"  # whatever peft activated: set anew before the next forward
            self._adapters[name] = key
            self._peft.requires_grad_(False)

    def new_adapter(self, name: str, rank: int, alpha: int, dropout: float) -> None:
        """Put a fresh LoRA adapter on all linear layers and make it the active one; its weights can be trained.

        Only for a backbone that nothing else uses: an adapter that is switched is frozen.
        """
        from peft import LoraConfig, PeftModel

        config = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules="all-linear")
        with self.lock:
            if self._adapters:
                raise InputError("an adapter is trained on a backbone of its own, and this one has adapters")
            key = f"adapter{self._count}"
            self._count += 1
            self._peft = PeftModel(self.model, config, key)
            self._adapters[name] = key
            self._active = name

    def adapter_fingerprint(self, name: str) -> str:
        """Hash of an adapter's tensors and of the settings that decide how they are applied."""
        from peft import get_peft_model_state_dict

        with self.lock:
            key = self._adapters[name]
            tensors = get_peft_model_state_dict(self._peft, adapter_name=key, save_embedding_layers=False)
            settings = self._peft.peft_config[key].to_dict()
            applied = {s: settings.get(s) for s in ("peft_type", "r", "lora_alpha", "use_rslora", "use_dora")}
            patterns = {s: settings.get(s) for s in ("rank_pattern", "alpha_pattern")}
            return fingerprint(tensors) + json.dumps(applied | patterns, sort_keys=True, default=str)

    def save_adapter(self, name: str, folder: Path, half: bool = False) -> None:
        """Write one adapter in peft's format, if asked for in half precision.

        The base it names is the backbone's id, not a path of this machine.
        """
        from safetensors.torch import load_file, save_file

        key = self._adapters[name]
        with self.lock:
            self._peft.save_pretrained(folder, selected_adapters=[key], safe_serialization=True)
        for file in (folder / key).iterdir():
            file.replace(folder / file.name)
        (folder / key).rmdir()
        (folder / "README.md").unlink(missing_ok=True)  # peft's empty model card
        if half:
            path = folder / "adapter_model.safetensors"
            save_file({k: v.half() for k, v in load_file(path).items()}, path, metadata={"format": "pt"})
        path = folder / "adapter_config.json"
        config = json.loads(path.read_text(encoding="utf-8")) | {"base_model_name_or_path": self.name}
        config["exclude_modules"] = config.get("exclude_modules") or UNUSED_HEAD  # others' copy of BERT has it
        path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")

    def merged(self, name: str) -> PreTrainedModel:
        """The model with one adapter made part of its weights. Only for a backbone that is of no use afterwards."""
        with self.lock:
            model = self._peft.merge_and_unload(adapter_names=[self._adapters[name]])
            self._peft, self._adapters = None, {}
            return model

    def remove_adapter(self, name: str) -> None:
        """Forget an adapter and free its memory; the weights are as they were."""
        with self.lock:
            self._drop(self._adapters.pop(name))
            gc.collect()

    def _drop(self, key: str) -> None:
        """Take an adapter's layers off, also those of one that was put on only in part; with the last goes peft."""
        if self._peft is not None and key in self._peft.peft_config:
            self._peft.delete_adapter(key)
        if self._peft is not None and not self._adapters:
            self.model = self.reader.model = self._peft.unload()
            self._peft = None
        self._active = "?" if self._peft is not None else None

    def _activate(self, adapter: str | None) -> None:
        """Switch adapters only when the active one is another: switching costs milliseconds."""
        if adapter == self._active:
            return
        if adapter is not None and adapter not in self._adapters:
            raise InputError(f"the backbone '{self.name}' has no adapter '{adapter}'")
        if self._peft is not None:
            tuner = self._peft.base_model
            if adapter is None:
                tuner.disable_adapter_layers()
            else:
                tuner.enable_adapter_layers()
                self._peft.set_adapter(self._adapters[adapter])
                self._peft.requires_grad_(False)
        self._active = adapter

    def memory(self) -> Memory:
        """Bytes of weights and adapters."""
        adapters = {
            name: tensor_bytes([p for n, p in self.model.named_parameters() if f".{key}." in n])
            for name, key in self._adapters.items()
        }
        total = tensor_bytes([*self.model.parameters(), *self.model.buffers()]) + self._full.bytes
        return Memory(total - sum(adapters.values()), adapters)


def bare(model: Any) -> Any:
    """Take off what embeddings do not use.

    Vision-language checkpoints (Gemma 3 from 4 B) wrap the language model; BERT's head costs time and would attract
    adapters.
    """
    model = getattr(model, "language_model", model)
    if getattr(model, "pooler", None) is not None:
        model.pooler = None
    return model


def fingerprint(tensors: Mapping[str, Tensor], limit: int = 1 << 30) -> str:
    """Hash of named tensors. Above `limit` bytes every tensor is sampled at a stride: hashing 14 GB takes too long."""
    total = tensor_bytes(list(tensors.values()))
    stride = max(1, total // limit)
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().flatten()[::stride].contiguous()
        digest.update(f"{name} {tuple(tensors[name].shape)} {tensor.dtype}".encode())
        digest.update(tensor.cpu().view(torch.uint8).numpy().data)
    return digest.hexdigest()
