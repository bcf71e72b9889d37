"""Which tokens a mean is taken over.

The first token of a causal language model is an attention sink: from some layer on its state is a hundred times longer
than the others' (Xiao et al. 2024; Sun et al. 2024, "massive activations"), so that a plain mean over the tokens of
these layers is that one token. LLM2Vec and NV-Embed leave instructions out of the mean for a like reason.

An exported variant carries this file: it needs torch alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

Tokens = Literal["all", "without-first", "text"]
"""all: every token, as in the paper. without-first: neither the first token nor special tokens (beginning, end).
text: as without-first, and without the prompt."""

TokenWeights = Literal["uniform", "position", "unit"]
"""How the tokens of a probe's mean count. uniform: alike. position: the i-th with weight i, as in SGPT. unit: alike,
after their states were brought to length one, so that no long state outweighs the others."""

MEANING: dict[Tokens, str] = {
    "all": "all tokens",
    "without-first": "all tokens but the first and the special ones",
    "text": "the tokens of the text alone, without the first, the special ones and the prompt",
}
"""One phrase each, for people."""


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
