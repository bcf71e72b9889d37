"""Which tokens a mean is taken over.

The first token of a causal language model is an attention sink: from some layer on its state is a hundred times longer
than the others' (Xiao et al. 2024; Sun et al. 2024, "massive activations"), so that a plain mean over the tokens of
these layers is that one token. LLM2Vec and NV-Embed leave instructions out of the mean for a like reason.

An exported variant carries this file: it needs torch and `designs.py` alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from .designs import MEANING, Tokens

__all__ = ["MEANING", "TokenWeights", "Tokens", "counted_tokens"]

TokenWeights = Literal["uniform", "position", "unit"]
"""How the tokens of a probe's mean count. uniform: alike. position: the i-th with weight i, as in SGPT. unit: alike,
after their states were brought to length one, so that no long state outweighs the others."""


def prompt_length(places: Sequence[Sequence[int]], special: Sequence[int], characters: int) -> int:
    """How many tokens belong to a prompt of so many `characters` at the beginning of a text.

    `places`: for each token the characters [start, end) that it stands for; `special`: 1 for special tokens, which
    stand for none. A token that holds the end of the prompt and the beginning of the text belongs to the text.
    """
    for i, ((_, end), is_special) in enumerate(zip(places, special, strict=True)):
        if not is_special and end > characters:
            return i
    return len(places)


def counted_tokens(
    ids: Tensor, mask: Tensor, tokens: Tokens, special: Sequence[int], prompts: Tensor | None = None
) -> Tensor:
    """Mask [B, T] of the tokens that a mean is taken over, of ids and mask [B, T] padded on either side.

    `special`: ids of special tokens. `prompts` [B]: how many tokens of each row belong to its prompt, counted from its
    first token. A text of which nothing would be left keeps all tokens but the first; one of a single token keeps it.
    """
    if tokens == "all":
        return mask
    real = mask.bool()
    place = mask.cumsum(-1) - 1  # of each token in its text; padding on the right has its last one's
    later = real & (place > 0)
    chosen = later & ~torch.isin(ids, torch.tensor(list(special), dtype=ids.dtype, device=ids.device))
    if tokens == "text" and prompts is not None:
        chosen &= place >= prompts.to(mask.device)[:, None]
    for instead in (later, real):
        chosen = torch.where(chosen.any(1, keepdim=True), chosen, instead)
    return chosen.to(mask.dtype)
