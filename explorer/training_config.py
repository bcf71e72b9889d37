"""What a training run is asked for: one dataclass, checked when it is made, from which the command line is made.

Nothing here imports torch, so that the command line and the page can show all options at once.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from .designs import DEFAULT_BACKBONE, Design, Tokens, design
from .errors import InputError
from .options import add_options, check_types, command_line, given_fields, without_folders
from .record import DTYPES

Schedule = Literal["linear", "cosine", "constant"]
PoolerInit = Literal["near-mean", "near-last", "random", "paper"]
LayerMatrix = Literal["auto", "before-norm", "after-norm"]
ReportTo = Literal["none", "tensorboard", "trackio"]


@dataclass(frozen=True)
class TrainingConfig:
    """One training run. Two runs with equal configuration and data give equal losses."""

    design: str
    """The design to train: how the states are pooled and who may see whom."""
    data: tuple[str, ...]
    """Training pairs: files (.jsonl, .jsonl.gz, .csv, .tsv, .json, .parquet), hub:OWNER/NAME:SPLIT, or
    builtin:docstrings (of the installed packages, without the judged answers of python-stdlib; no download); `:0.5`
    after one draws half of its rows in every pass over the data, `:2` draws each twice."""
    backbone: str = DEFAULT_BACKBONE
    """The pretrained transformer: a folder, a hub id, or a GGUF file (its path, or hub:OWNER/NAME/FILE.gguf)."""
    data_card: str = ""
    """A Markdown file about the data (sources, licences), to be put into the model card."""
    columns: tuple[str, ...] = ()
    """Which column is what, where names do not tell: query=NAME, positive=NAME, negative=NAME (repeatable),
    instruction=NAME."""
    max_steps: int = 500
    """Optimizer steps."""
    batch_size: int = 64
    """Pairs in one step, over all processes: every other positive of the step is a negative of each query."""
    micro_batch: int = 64
    """Pairs in memory at once, in each process. Fewer than the batch: GradCache, same gradient, a quarter slower."""
    negatives: int = 1
    """Hard negatives of each query that are used where the data has them; 0 leaves them out."""
    hard_negatives: int = 0
    """Hard negatives mined for each query from all positives by the guide (else the published MiniLM); 0 mines none."""
    scale: float = 20.0
    """Cosines are multiplied by this in the loss (1 / temperature); the paper's runs used 20."""
    learning_rate: float = 2e-4
    """Of the LoRA adapter, after warm-up."""
    pooler_learning_rate: float = 2e-4
    """Of the pooler, after warm-up; only designs with a trainable pooler have one."""
    warmup: float = 0.1
    """Share of the steps in which the learning rates rise from 0."""
    schedule: Schedule = "linear"
    """How the learning rates go on after warm-up: linear or cosine down to 0, or constant."""
    weight_decay: float = 0.0
    """Weight decay of AdamW, on matrices."""
    max_grad_norm: float = 1.0
    """Longer gradients are cut to this norm."""
    max_length: int = 128
    """Longer texts are cut to this many tokens in training; the end token is kept."""
    serve_length: int = 0
    """Length in tokens at which the trained variant cuts texts; 0: as in training."""
    query_prompt: str = ""
    """Put before every query that has no instruction of its own, in training and afterwards."""
    query_instructions: str = ""
    """A JSON file, {source: instruction}: put before the queries of that source, letter by letter, in place of the
    query prompt. Rows with a column instruction or prompt have their own."""
    document_prompt: str = ""
    """Put before every positive and negative, in training and afterwards."""
    tokens: Tokens = "all"
    """Which tokens a mean is taken over, of the last layer or of every layer: all (the paper), without-first (neither
    the first token, an attention sink in causal language models, nor special tokens) or text (nor the prompt)."""
    lora_rank: int = 16
    """Rank of the LoRA matrices on all linear layers (paper: 16)."""
    lora_alpha: int = 32
    """The adapter's output is multiplied by alpha / rank (paper: 32)."""
    lora_dropout: float = 0.1
    """Dropout before the adapter (paper: 0.1). The backbone's own dropout is off."""
    latents: int = 0
    """Latents of a trainable pooler; 0: 32, or the paper's 768 from width 4096."""
    heads: int = 0
    """Attention heads of a trainable pooler; 0: as many as fill the backbone's width."""
    head_dim: int = 0
    """Width of one such head; 0: 64."""
    pooler_init: PoolerInit = "near-mean"
    """Start of a trainable pooler: near-mean (about the mean of its states), near-last (multi-layer poolers: about the
    last layer's state, others as near-mean), random, or paper (as its code: latents and layer matrix from N(0, 1), the
    matrix added before the norm; all others add it after the norm)."""
    layer_matrix: LayerMatrix = "auto"
    """Where a multi-layer pooler adds its layer matrix: before-norm (the paper), after-norm, where it counts on every
    backbone, or auto: after-norm, and before-norm with pooler_init paper."""
    guide: str = ""
    """A frozen teacher: a variant's name, `published` (MiniLM as published) or a sentence-transformers model."""
    guide_weight: float = 0.0
    """Adds this times (1 - cosine to the guide's vector), averaged over all texts, to the loss; 0: off."""
    seed: int = 0
    """Decides data order, initial weights and dropout."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass: about a third slower, much less memory."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps."""
    dtype: str = "auto"
    """Precision of the backbone's products: float32, bfloat16, float16 (GPU only); auto: bfloat16 where the hardware
    has it. Trained weights are kept in float32."""
    dev_share: float = 0.02
    """Share of the pairs held out to measure nDCG@10 during training; the same ones whatever the seed."""
    dev_pairs: int = 300
    """Held-out pairs, at most; 0: none."""
    dev_sts: str = ""
    """A file of scored pairs (columns sentence1, sentence2, score): the rank correlation of cosine and score (Spearman)
    is measured too."""
    log_every: int = 1
    """Steps between two lines of progress."""
    eval_every: int = 100
    """Steps between two measurements on the held-out pairs; 0: none."""
    save_every: int = 100
    """Steps between two checkpoints from which a run can be resumed; 0: only at the end."""
    patience: int = 0
    """Stop after this many measurements without a better nDCG@10 and keep the best weights; 0: train to the end."""
    estimate_steps: int = 2
    """Steps measured before the start, to tell how long it will take; they change nothing. 0: no estimate."""
    report_to: ReportTo = "none"
    """Also report to tensorboard or trackio."""

    def __post_init__(self) -> None:
        for name in ("data", "columns"):
            value = getattr(self, name)
            object.__setattr__(self, name, (value,) if isinstance(value, str) else tuple(value))
        design(self.design)
        if not self.data:
            raise InputError("there is no training data; give a file, hub:OWNER/NAME:SPLIT or builtin:docstrings")
        check_types(self)
        self._check_numbers()
        if self.dtype not in DTYPES:
            raise InputError(f"dtype '{self.dtype}' is none of: {', '.join(DTYPES)}")
        if self.guide_weight > 0 and not self.guide:
            raise InputError("guide_weight is set but no guide; name one, such as 'published'")
        if self.dev_sts and not (self.eval_every and self.dev_pairs and self.dev_share):
            raise InputError("dev_sts is measured with held-out pairs: set eval_every, dev_share, dev_pairs above 0")
        if self.serve_length and self.serve_length < 4:
            raise InputError(f"serve_length must be 0 or at least 4 tokens, not {self.serve_length}")
        if self.patience and not (self.eval_every and self.dev_pairs and self.dev_share):
            raise InputError("patience needs held-out pairs: set eval_every, dev_share and dev_pairs above 0")

    def _check_numbers(self) -> None:
        at_least = {
            "max_steps": 1,
            "batch_size": 2,
            "micro_batch": 1,
            "max_length": 4,
            "lora_rank": 1,
            "lora_alpha": 1,
            "log_every": 1,
            **dict.fromkeys(("negatives", "hard_negatives", "latents", "heads", "head_dim", "seed", "dev_pairs"), 0),
            **dict.fromkeys(("serve_length", "eval_every", "save_every", "patience", "estimate_steps"), 0),
            **dict.fromkeys(("guide_weight", "weight_decay"), 0),
        }
        for name, least in at_least.items():
            if getattr(self, name) < least:
                raise InputError(f"{name} must be at least {least}, not {getattr(self, name)}")
        for name in ("scale", "learning_rate", "pooler_learning_rate", "max_grad_norm"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(f"{name} must be a number above 0, not {getattr(self, name)}")
        for name, most in (("warmup", 1), ("lora_dropout", 1), ("dev_share", 0.5)):
            if not 0 <= getattr(self, name) < most:
                raise InputError(f"{name} must be at least 0 and below {most}, not {getattr(self, name)}")
        if self.seed >= 2**32:
            raise InputError(f"seed must be below 2 to the power of 32, not {self.seed}")

    @property
    def chosen(self) -> Design:
        """The design itself."""
        return design(self.design)

    def to_json(self) -> dict[str, Any]:
        """All fields, as they stand in JSON."""
        return json.loads(json.dumps(asdict(self)))

    def command(self, output: str) -> str:
        """The command line that runs this configuration; fields at their default are left out."""
        return command_line("train", self, output)


# ----------------------------------------------------------------------------------------------------- command line


def add_training_options(parser: argparse.ArgumentParser, without: Sequence[str] = ()) -> None:
    """One option a field, but for those `without`; see `options.add_options`."""
    group = parser.add_argument_group("training")
    add_options(group, TrainingConfig, {"data": "FILE", "columns": "ROLE=NAME"}, without)


def given_options(options: argparse.Namespace) -> dict[str, Any]:
    """The fields that the command line names."""
    return given_fields(options, TrainingConfig)


def from_given(given: Mapping[str, Any]) -> TrainingConfig:
    """A configuration of what was given. Raises `InputError`, also if design or data are missing or a name unknown."""
    known = {field.name for field in fields(TrainingConfig)}
    for name in given:
        if name not in known:
            raise InputError(f"there is no training option '{name}'; there are: {', '.join(sorted(known))}")
    for name in ("design", "data"):
        if name not in given:
            raise InputError(f"--{name} is missing; it says what to train {'with' if name == 'data' else ''}".rstrip())
    return TrainingConfig(**given)


BEFORE: Mapping[str, Any] = {"layer_matrix": "before-norm"}
"""What runs did that were written down before there was an option for it, where its default does something else."""


def from_saved(saved: Mapping[str, Any]) -> TrainingConfig:
    """The configuration that a run wrote down, also before options were added. Raises `InputError`."""
    return TrainingConfig(**{**BEFORE, **saved})


def portable(config: TrainingConfig) -> TrainingConfig:
    """The same without folders of this machine: of an absolute path only the last part is kept."""
    from dataclasses import replace

    single = ("backbone", "data_card", "dev_sts", "query_instructions")
    more: dict[str, Any] = {name: without_folders(getattr(config, name)) for name in single}
    return replace(config, data=tuple(map(without_folders, config.data)), **more)
