"""What a pooler reads of a transformer, under causal or bidirectional attention.

    reader = StateReader(model)                      # any decoder or BERT-like encoder of transformers
    states, mask = reader.states(ids, mask, "causal", "layer-eos")

An exported variant carries this file: it needs torch and transformers alone. Not thread-safe.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from .designs import Attention, States
from .errors import InputError
from .pooling import last_real

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class StateReader:
    """Runs a transformer and takes from it what a pooler reads; hidden states of all layers are never kept."""

    def __init__(self, model: PreTrainedModel, dtype: torch.dtype = torch.float32, autocast: bool = False) -> None:
        """`dtype`: that of the products, which an encoder's mask must have; with `autocast` the model's products alone
        run in it, and what is taken from them is float32 again. Raises `InputError` if no layers are found.
        """
        self.model, self.dtype, self.autocast = model, dtype, autocast
        self.config = model.config.get_text_config()
        self.layers: int = self.config.num_hidden_layers
        self.decoder = any(getattr(m, "is_causal", None) is True for m in model.modules())
        self.blocks = find_blocks(model, self.layers)

    def states(self, ids: Tensor, mask: Tensor, attention: Attention, read: States) -> tuple[Tensor, Tensor]:
        """States [B, n, d] and their mask [B, n] of ids, mask [B, T]; n = T or 1 tokens, or L layers (1..L).

        The last layer's state is the one after the model's final norm where it has one (decoders), earlier layers' are
        raw, as in the paper.
        """
        if read == "tokens":
            return self._forward(ids, mask, attention), mask
        if read == "last-token":
            states = _pool_eos(mask)(self._forward(ids, mask, attention))[:, None]  # [B, 1, d]
            return states, torch.ones(states.shape[:2], dtype=torch.long, device=states.device)
        pool = _pool_eos(mask) if read == "layer-eos" else _pool_mean(mask)
        states = torch.stack(self.each_layer(ids, mask, attention, lambda _, hidden: pool(hidden)), dim=1)  # [B, L, d]
        return states, torch.ones(states.shape[:2], dtype=torch.long, device=states.device)

    def each_layer(
        self, ids: Tensor, mask: Tensor, attention: Attention, take: Callable[[int, Tensor], Tensor]
    ) -> list[Tensor]:
        """What `take` makes of each layer's number and states [B, T, d], layer 1 first, while the forward passes."""
        collected: dict[int, Tensor] = {}

        def hook(layer: int):
            def keep(_module, _inputs, output):
                collected[layer] = take(layer, output[0] if isinstance(output, tuple) else output)

            return keep

        handles = [block.register_forward_hook(hook(i)) for i, block in enumerate(self.blocks[:-1], start=1)]
        try:
            collected[self.layers] = take(self.layers, self._forward(ids, mask, attention))
        finally:
            for handle in handles:
                handle.remove()
        return [collected[i] for i in range(1, self.layers + 1)]

    def _forward(self, ids: Tensor, mask: Tensor, attention: Attention) -> Tensor:
        """Last hidden state [B, T, d] with the attention asked for."""
        positions = (mask.cumsum(-1) - 1).clamp(min=0)  # without them GPT-2 and BERT change with left padding
        arguments: dict[str, Any] = {"input_ids": ids, "position_ids": positions}
        if self.decoder:
            # Works by writing config.is_causal for the time of the call, hence not thread-safe.
            arguments |= {"attention_mask": mask, "use_cache": False, "is_causal": attention == "causal"}
        else:
            # An encoder told is_causal=True is silently wrong; an explicit 4-D mask is right on sdpa and eager.
            arguments["attention_mask"] = self._encoder_mask(ids, mask, attention)
        with torch.autocast(ids.device.type, self.dtype) if self.autocast else nullcontext():
            return self.model(**arguments).last_hidden_state

    def _encoder_mask(self, ids: Tensor, mask: Tensor, attention: Attention) -> Any:
        from transformers import masking_utils as masks

        causal = attention == "causal"
        config = copy.copy(self.config)
        config.is_causal = causal
        like = torch.empty((*ids.shape, 1), dtype=self.dtype, device=ids.device)
        common: dict[str, Any] = {
            "config": config,
            "inputs_embeds": like,
            "attention_mask": mask,
            "past_key_values": None,
        }
        never_skip: dict[str, Any] = {"allow_is_causal_skip" if causal else "allow_is_bidirectional_skip": False}
        full = masks.create_causal_mask if causal else masks.create_bidirectional_mask
        kinds = set(getattr(self.config, "layer_types", None) or ())
        if "sliding_attention" not in kinds:
            return full(**common, **never_skip)
        sliding = masks.create_sliding_window_causal_mask if causal else masks.create_bidirectional_sliding_window_mask
        if causal:
            config.sliding_window += 1  # exclusive in causal masks, inclusive in bidirectional ones: keep the reach
        return {
            "full_attention": full(**common, **never_skip),
            "sliding_attention": sliding(**common, **never_skip),
        }


def _pool_eos(mask: Tensor):
    rows, end = torch.arange(len(mask), device=mask.device), last_real(mask)
    return lambda hidden: hidden[rows, end].float()


def _pool_mean(mask: Tensor):
    weights = mask / mask.sum(1, keepdim=True)
    padded = ~mask.bool()[..., None]
    return lambda hidden: torch.einsum("bt,btd->bd", weights, hidden.float().masked_fill(padded, 0.0))


def find_blocks(model: nn.Module, layers: int) -> list[nn.Module]:
    """The transformer blocks in order: the first module list of that length."""
    for module in model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == layers:
            return list(module)
    raise InputError(f"no list of {layers} layers found in {type(model).__name__}")
