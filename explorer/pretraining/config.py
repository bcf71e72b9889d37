"""What a pretraining run is asked for. Nothing here imports torch."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..options import check_types, command_line, without_folders
from ..record import DTYPES

MAY_CHANGE = ("data_card", "device", "micro_batch", "compile", "every_minutes", "max_minutes", "threads")
"""Options that a resumed run may change: none of them decides what a step learns."""


@dataclass(frozen=True)
class PretrainingConfig:
    """One pretraining run of a decoder with Qwen3's architecture. The defaults are for one GPU."""

    text: tuple[str, ...] = ()
    """Plain text, one passage a line: .txt or .txt.xz."""
    docstrings: bool = False
    """Also the docstrings of the running Python's standard library."""
    data_card: str = ""
    """A Markdown file about the text (sources, licences), to be put into the model card."""
    held_out: float = 0.01
    """Share of the passages that is never trained on; which ones is decided by their text alone."""
    layers: int = 12
    """Transformer blocks."""
    width: int = 384
    """Width of the states between them."""
    heads: int = 6
    """Attention heads."""
    head_dim: int = 64
    """Width of one head."""
    ffn: int = 1024
    """Width inside the gated feed-forward part."""
    vocabulary: int = 16384
    """Tokens of the byte-level BPE that is trained on the text."""
    tokenizer_passages: int = 20_000
    """Passages that the tokenizer is trained on, at most."""
    context: int = 512
    """Tokens of a training sequence: passages are put end to end and cut to this length."""
    batch_size: int = 64
    """Sequences in one optimizer step."""
    micro_batch: int = 32
    """Sequences in memory at once. On a CPU a few, so that the logits stay near its caches."""
    tokens: int = 400_000_000
    """Tokens to train on; the text is repeated where it has fewer."""
    max_minutes: float = 0.0
    """End earlier, after this time by the clock, stops between resumed parts left out; the schedule follows whichever
    of tokens and time is further. 0: no limit."""
    learning_rate: float = 1e-3
    """Highest rate of AdamW; it rises over the warm-up and falls on a cosine to a hundredth."""
    warmup: float = 0.03
    """Share of the run in which the rate rises."""
    weight_decay: float = 0.1
    """Weight decay of AdamW, on matrices."""
    max_grad_norm: float = 1.0
    """Longer gradients are cut to this norm."""
    every_minutes: float = 5.0
    """Time between two checkpoints, each with a measurement on held-out text."""
    measured_tokens: int = 65_536
    """Held-out tokens of such a measurement, at most; the one at the end takes all of them."""
    seed: int = 0
    """Decides the order of the passages and the initial weights."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps."""
    dtype: str = "auto"
    """Precision of the products: float32 or bfloat16; auto: bfloat16 where the hardware has it."""
    compile: bool = False
    """Compile the model (torch.compile): minutes at the start, faster steps on a GPU."""
    threads: int = 0
    """Processor threads; 0: as torch chooses."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", (self.text,) if isinstance(self.text, str) else tuple(self.text))
        check_types(self)
        if not self.text and not self.docstrings:
            raise InputError("there is no text; give --text FILE (.txt or .txt.xz, one passage a line) or --docstrings")
        at_least = {
            **dict.fromkeys(("layers", "heads", "batch_size", "micro_batch", "tokens", "tokenizer_passages"), 1),
            **dict.fromkeys(("threads", "seed", "max_minutes", "weight_decay"), 0),
            "vocabulary": 300,  # 256 bytes, three special tokens, a few merges
            "context": 8,
            "width": 8,
            "ffn": 8,
            "measured_tokens": self.context,
        }
        for name, least in at_least.items():
            if getattr(self, name) < least:
                raise InputError(f"{name} must be at least {least}, not {getattr(self, name)}")
        if self.vocabulary > 2**16:
            raise InputError(f"vocabulary must be at most {2**16}, not {self.vocabulary}")
        if self.head_dim < 2 or self.head_dim % 2:
            raise InputError(f"head_dim must be an even number (its halves are rotated), not {self.head_dim}")
        for name in ("learning_rate", "max_grad_norm", "every_minutes"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(f"{name} must be a number above 0, not {getattr(self, name)}")
        if not 0 < self.held_out <= 0.5:
            raise InputError(f"held_out must be above 0 and at most 0.5, not {self.held_out}")
        if not 0 <= self.warmup < 1:
            raise InputError(f"warmup must be at least 0 and below 1, not {self.warmup}")
        if self.batch_size % min(self.micro_batch, self.batch_size):
            raise InputError(f"batch_size {self.batch_size} is no multiple of micro_batch {self.micro_batch}")
        if self.dtype not in DTYPES or self.dtype == "float16":
            raise InputError(f"dtype '{self.dtype}' is none of: auto, float32, bfloat16")

    @property
    def steps(self) -> int:
        """Optimizer steps in which `tokens` are seen."""
        return math.ceil(self.tokens / (self.batch_size * self.context))

    def to_json(self) -> dict[str, Any]:
        """All fields, as they stand in JSON."""
        return json.loads(json.dumps(asdict(self)))

    def portable(self) -> PretrainingConfig:
        """The same without folders of this machine: of an absolute path only the last part is kept."""
        text = tuple(map(without_folders, self.text))
        return replace(self, text=text, data_card=without_folders(self.data_card))

    def command(self, output: str) -> str:
        """The command line that runs this configuration, without folders of this machine."""
        return command_line("pretrain", self.portable(), output)


def from_saved(saved: Mapping[str, Any], given: Mapping[str, Any], folder: Path) -> PretrainingConfig:
    """The configuration of a run that is resumed: what it began with, which `given` must not contradict."""
    known = {field.name for field in fields(PretrainingConfig)}
    began = PretrainingConfig(**{name: value for name, value in saved.items() if name in known})
    asked = replace(began, **given)
    for name, value in began.to_json().items():
        if asked.to_json()[name] != value and name not in MAY_CHANGE:
            raise InputError(
                f"the run in '{folder}' has {name} {value!r}, not {asked.to_json()[name]!r}; a resumed run keeps it"
            )
    return asked
