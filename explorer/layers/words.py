"""Tokens as a reader sees them: sub-words joined to words, with prompt, end token and special tokens marked.

words = spell(backbone, "an unbelievable text", prompt="query: ", max_length=512)
words.words[3].text, words.words[3].role, words.join(weights)   # weights [..., T] -> [..., W]
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..backbone import Backbone, Span
from ..errors import InputError

Role = Literal["text", "prompt", "special", "end"]
"""What a token is: the user's text, the variant's prompt, a token the tokenizer adds, or the end token."""

BLANK = "␣"
"""How a token of white space alone is shown."""


@dataclass(frozen=True)
class Word:
    """Tokens [first, last) that make one word; start and end are its characters in the text, prompt not counted.

    Words of the prompt and special tokens lie outside the text: start = end = -1.
    """

    text: str
    role: Role
    first: int
    last: int
    start: int = -1
    end: int = -1


@dataclass(frozen=True)
class Spelling:
    """One text as tokens and words."""

    ids: tuple[int, ...]
    tokens: tuple[str, ...]
    roles: tuple[Role, ...]
    words: tuple[Word, ...]
    read: int
    """Characters of the text that were read; fewer than it has where it was cut."""
    length: int
    """Characters of the text."""

    @property
    def note(self) -> str:
        """A sentence where the text was cut; empty where all of it was read."""
        if self.read >= self.length:
            return ""
        return (
            f"The text is cut: only its first {self.read:,} of {self.length:,} characters are read "
            f"({len(self.ids):,} tokens are the most this variant takes)."
        )

    def join(self, weights: np.ndarray) -> np.ndarray:
        """Weights over tokens [..., T] as weights over words [..., W]: the sum of each word's tokens."""
        return np.add.reduceat(weights, [word.first for word in self.words], axis=-1)


def check_text(text: str) -> None:
    """Raises `InputError` for a text without a character that can be seen."""
    if not text.strip():
        raise InputError("type a text first: there is nothing to read")


def spell(backbone: Backbone, text: str, prompt: str = "", max_length: int | None = None) -> Spelling:
    """The tokens of `prompt` + `text` as the variant reads them. Raises `InputError` for an empty text."""
    check_text(text)
    whole = (prompt + text).encode("utf-8", "replace").decode("utf-8")  # half a surrogate pair is "?", as for the model
    placed = backbone.spans(whole, max_length)
    spans = [trimmed(span, whole) for span in placed]
    names = [str(t) for t in backbone.tokenizer.convert_ids_to_tokens([span.id for span in spans])]
    shown = [
        whole[s.start : s.end] or (BLANK if p.end > p.start else name)
        for s, p, name in zip(spans, placed, names, strict=True)
    ]
    roles = [role(span, i == len(spans) - 1, len(prompt)) for i, span in enumerate(spans)]
    words = []
    for first, last in groups(spans, roles, whole):
        start, end = spans[first].start, max(s.end for s in spans[first:last])
        kind = roles[first]
        inside = (max(0, start - len(prompt)), end - len(prompt)) if kind == "text" and end > start else (-1, -1)
        words.append(Word(whole[start:end] or "".join(shown[first:last]), kind, first, last, *inside))
    read = characters_read(spans, whole, min(max_length or backbone.max_length, backbone.max_length)) - len(prompt)
    return Spelling(tuple(s.id for s in spans), tuple(shown), tuple(roles), tuple(words), max(0, read), len(text))


def characters_read(spans: Sequence[Span], text: str, limit: int) -> int:
    """How many characters the tokens reach; all of them if fewer than `limit` tokens sufficed, or if none is placed."""
    reached = max(span.end for span in spans)
    cut = len(spans) >= limit and reached > 0 and not text[reached:].isspace()
    return reached if cut else len(text)


def trimmed(span: Span, text: str) -> Span:
    """The span without the white space that some tokenizers count to the word after it."""
    start, end = span.start, span.end
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return Span(span.id, start, end, span.special)


def role(span: Span, last: bool, prompt: int) -> Role:
    """What a token is; the last one is the end token, as the backbone makes sure."""
    if last:
        return "end"
    if span.special:
        return "special"
    return "prompt" if span.end <= prompt and prompt else "text"


def groups(spans: Sequence[Span], roles: Sequence[Role], text: str) -> list[tuple[int, int]]:
    """Runs [first, last) of tokens that make one word.

    Told by the text, not by the tokenizer's marks, which differ: tokens are one word if they share a character (an
    emoji of several bytes) or touch between two letters of a script that puts spaces between words.
    """
    firsts = [0]
    for i in range(1, len(spans)):
        a, b = spans[i - 1], spans[i]
        same = roles[i - 1] == roles[i] and not (a.special or b.special) and a.end > a.start and b.end > b.start
        overlap = b.start < a.end
        touch = b.start == a.end and joins(text[a.end - 1]) and joins(text[b.start])
        if not (same and (overlap or touch)):
            firsts.append(i)
    return list(zip(firsts, [*firsts[1:], len(spans)], strict=True))


def joins(character: str) -> bool:
    """Whether a character is part of a word; ideographs and kana, written without spaces, stand alone."""
    if unicodedata.east_asian_width(character) in "WF":
        return False
    return character.isalnum() or unicodedata.category(character).startswith("M")
