"""From text files to what a language model is trained on: passages, a tokenizer, sequences of equal length."""

from __future__ import annotations

import lzma
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from ..store import content_hash

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

BEGIN, END, PAD = "<|begin|>", "<|end|>", "<|pad|>"
SUFFIXES = (".txt", ".txt.xz")
ENCODED_AT_ONCE = 2000
"""Passages that the tokenizer takes at once."""


def read_passages(files: Sequence[str], docstrings: bool = False) -> list[str]:
    """All lines of the files that are not empty, in their order, and if asked for the docstrings of `python-stdlib`.

    Raises `InputError` for a file that is not there or cannot be read, and if there is nothing.
    """
    passages = [line for file in files for line in _lines(Path(file))]
    if docstrings:
        from ..corpora.python_stdlib import build

        passages += [f"{document.title}\n{document.text}" for document in build().documents]
    if not passages:
        raise InputError(f"there is no text in: {', '.join(files)}")
    return passages


def _lines(path: Path) -> Iterator[str]:
    if not path.name.endswith(SUFFIXES):
        raise InputError(f"'{path.name}' is no text file; it must end with {' or '.join(SUFFIXES)}")
    try:
        with lzma.open(path, "rt", encoding="utf-8") if path.suffix == ".xz" else path.open(encoding="utf-8") as file:
            for line in file:
                if line.strip():
                    yield line.strip()
    except OSError as error:
        raise InputError(f"the text '{path}' cannot be read: {error.strerror or 'not there'}") from error
    except (lzma.LZMAError, EOFError, UnicodeDecodeError) as error:
        raise InputError(f"the text '{path}' is damaged: {error}") from error


def is_held_out(passage: str, share: float) -> bool:
    """Whether a passage is kept from training; its text decides, so repeated passages lie on the same side."""
    return int(content_hash((passage,))[:8], 16) < share * 2**32


def split(passages: Sequence[str], share: float, seed: int = 0) -> tuple[list[str], list[str]]:
    """Passages to train on, in a random order, and the held-out ones, in theirs. `InputError` if either is empty."""
    train = [p for p in passages if not is_held_out(p, share)]
    held_out = [p for p in passages if is_held_out(p, share)]
    if not train or not held_out:
        raise InputError(
            f"{len(passages)} passages are too few: {'none is' if not held_out else 'all are'} held out with a share "
            f"of {share:g}; give more text or another --held-out"
        )
    random.Random(seed).shuffle(train)
    return train, held_out


def train_tokenizer(passages: Sequence[str], vocabulary: int, context: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE: no text is out of its vocabulary. It puts the beginning token before a text, no end token after
    it, so that a text can be continued; whoever embeds adds that (`backbone.prepare_tokenizer`).
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[BEGIN, END, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(passages, trainer)
    if bpe.get_vocab_size() < vocabulary:
        raise InputError(
            f"the text is too little for a vocabulary of {vocabulary} tokens: only {bpe.get_vocab_size()} can be made"
        )
    begin = bpe.token_to_id(BEGIN)
    bpe.post_processor = TemplateProcessing(
        single=f"{BEGIN} $A", pair=f"{BEGIN} $A {BEGIN} $B", special_tokens=[(BEGIN, begin)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token=BEGIN,
        eos_token=END,
        pad_token=PAD,
        model_max_length=context,
        clean_up_tokenization_spaces=False,
    )


def pack(passages: Sequence[str], tokenizer: PreTrainedTokenizerBase, context: int) -> np.ndarray:
    """Passages end to end, each between beginning and end token, cut to sequences of full length: uint16 [n, context].

    A passage may go on in the next sequence; what is left after the last full one is dropped.
    Raises `InputError` if not even one is full.
    """
    end = [tokenizer.eos_token_id]
    parts = []
    for at in range(0, len(passages), ENCODED_AT_ONCE):
        encoded = tokenizer(list(passages[at : at + ENCODED_AT_ONCE]), split_special_tokens=True, verbose=False)
        parts += [np.array(ids + end, dtype=np.uint16) for ids in encoded.input_ids]
    flat = np.concatenate(parts)
    rows = len(flat) // context
    if not rows:
        raise InputError(f"{len(flat)} tokens of text do not fill one sequence of {context}; give more text")
    return flat[: rows * context].reshape(rows, context)
