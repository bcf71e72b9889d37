"""The designs: how token states become one vector (pooling) and who may see whom (attention).

The named designs are those of "Pooling And Attention: What Are Effective Designs For LLM-Based Embedding Models?"
(Tang & Yang, arXiv 2409.02727, table 1) and the mean-pooling baselines. A further design is one further line below.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

from .errors import InputError

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
SMOLLM2 = "HuggingFaceTB/SmolLM2-135M-Instruct"
"""A causal language model of 30 layers, which a package carries; see `hub.resolve`."""
DEFAULT_BACKBONE = MINILM
"""A bare design name means this backbone's variant; its weights come with the requirements and need no network."""

Pooling = Literal["eos", "mean", "last-layer", "multi-layer"]
Attention = Literal["causal", "bidirectional"]
States = Literal["tokens", "last-token", "layer-eos", "layer-means"]
"""What a pooler reads: the last layer's tokens, its end token alone, the end token of every layer, or the masked mean
of every layer."""
Reads = Literal["all-tokens", "last-token"]
"""What a last-layer pooler reads of the last layer: all tokens, as the paper writes, or the end token alone, as its
released Model 2 does."""


@dataclass(frozen=True)
class Design:
    """A pair (pooling, attention) with the name it has everywhere: command line, page, folders."""

    name: str
    pooling: Pooling
    attention: Attention
    note: str = ""
    reads: Reads = "all-tokens"
    """What a last-layer pooler reads; other poolers leave no choice. A variant's record says "last-token" where it was
    made so, and its name stays the design's."""

    def __post_init__(self) -> None:
        for field, value, valid in (
            ("pooling", self.pooling, get_args(Pooling)),
            ("attention", self.attention, get_args(Attention)),
            ("reads", self.reads, get_args(Reads)),
        ):
            if value not in valid:
                raise InputError(f"{field} '{value}' of design '{self.name}' is none of: {', '.join(valid)}")
        if self.one_token and self.pooling != "last-layer":
            raise InputError(f"only a last-layer pooler can read the last token alone, which '{self.name}' has not")

    @property
    def trainable_pooler(self) -> bool:
        """Whether the pooler has weights: without training those are random and mean nothing."""
        return self.pooling in ("last-layer", "multi-layer")

    @property
    def one_token(self) -> bool:
        """Whether the pooler reads one token: its weights are 1 by construction, whatever W_q and W_k hold."""
        return self.reads == "last-token"

    @property
    def phrase(self) -> str:
        """What it reads, for people."""
        return ONE_TOKEN if self.one_token else READS[self.pooling]

    @property
    def states(self) -> States:
        """What the pooler reads (paper, section 3.2).

        With causal attention only the end token has seen the whole text, so it stands for a layer; with bidirectional
        attention every token has, so their mean does.
        """
        if self.pooling != "multi-layer":
            return "last-token" if self.one_token else "tokens"
        return "layer-eos" if self.attention == "causal" else "layer-means"

    @property
    def means(self) -> bool:
        """Whether it takes a mean over tokens, of the last layer or of every layer."""
        return self.pooling == "mean" or self.states == "layer-means"


DESIGNS: dict[str, Design] = {
    design.name: design
    for design in (
        Design("eos-causal", "eos", "causal", note="Model 1 of the paper"),
        Design("last-layer-causal", "last-layer", "causal", note="Model 2 of the paper"),
        Design("multi-layer-causal", "multi-layer", "causal", note="Model 3 of the paper"),
        Design("last-layer-bidirectional", "last-layer", "bidirectional", note="Model 4 of the paper"),
        Design("multi-layer-bidirectional", "multi-layer", "bidirectional", note="Model 5 of the paper"),
        Design("mean-causal", "mean", "causal", note="baseline"),
        Design("mean-bidirectional", "mean", "bidirectional", note="baseline"),
        Design("eos-bidirectional", "eos", "bidirectional", note="not in the paper: the fourth untrained corner"),
    )
}

STUDY_DESIGNS: tuple[str, ...] = tuple(name for name, d in DESIGNS.items() if not d.note.startswith("not in the paper"))
"""The paper's five and the two mean baselines: what "all" means in a study."""

Tokens = Literal["all", "without-first", "text"]
"""Which tokens a mean is taken over. all: every token, as in the paper. without-first: neither the first token nor
special tokens (beginning, end). text: as without-first, and without the prompt."""

MEANING: dict[Tokens, str] = {
    "all": "all tokens",
    "without-first": "all tokens but the first and the special ones",
    "text": "the tokens of the text alone, without the first, the special ones and the prompt",
}
"""One phrase a choice of tokens, for people."""

READS: dict[str, str] = {
    "eos": "the state of the end token in the last layer",
    "mean": "the mean of all token states of the last layer",
    "last-layer": "cross-attention over the tokens of the last layer",
    "multi-layer": "cross-attention over all layers",
}
"""One phrase a pooling, for people."""
ONE_TOKEN = (
    "one token, the end token's state in the last layer, through a trained pooler whose weights are 1 by construction, "
    "as the paper's released code does where its text has all tokens"
)
"""The phrase of a last-layer pooler that reads the last token alone."""


def reads_phrase(design: Design, tokens: Tokens = "all") -> str:
    """Say what a design reads, naming the tokens of its means where they are not all."""
    if tokens == "all" or not design.means:
        return design.phrase
    if design.pooling == "mean":
        return f"the mean of the last layer's states of {MEANING[tokens]}"
    return f"{design.phrase}, each by the mean of {MEANING[tokens]}"


def design(name: str, reads: Reads | None = None) -> Design:
    """Find a design by its name.

    Args:
        name: a key of `DESIGNS`.
        reads: what its pooler reads, where a variant's record says so; None is what the paper writes.

    Raises:
        InputError: no design has this name (the message lists them), or it cannot read this.
    """
    if name not in DESIGNS:
        raise InputError(f"unknown design '{name}'; valid designs: {', '.join(DESIGNS)}")
    return replace(DESIGNS[name], reads=reads) if reads is not None else DESIGNS[name]
