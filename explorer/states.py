"""What a pooler reads of a transformer, under causal or bidirectional attention.

    reader = StateReader(model)                      # any decoder or BERT-like encoder of transformers
    states, mask = reader.states(ids, mask, "causal", "layer-eos")

An exported variant carries this file: it needs torch and transformers alone. Not thread-safe.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
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
        self.blocks = find_blocks(model, self.layers)
        accepted = inspect.signature(model.forward).parameters
        self.takes_positions, self.takes_cache = "position_ids" in accepted, "use_cache" in accepted
        self.position_offset = position_offset(model)
        told = any(getattr(module, "is_causal", None) is True for module in model.modules())
        self.decoder = told or self._is_causal_by_itself()
        self.natural: Attention = "causal" if self.decoder else "bidirectional"
        """The attention that the model was pretrained with."""

    def states(
        self,
        ids: Tensor,
        mask: Tensor,
        attention: Attention,
        read: States,
        counted: Tensor | None = None,
        unit: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """States [B, n, d] and their mask [B, n] of ids, mask [B, T]; n = T or 1 tokens, or L layers (1..L).

        The last layer's state is the one after the model's final norm where it has one (decoders), earlier layers' are
        raw, as in the paper. `counted` [B, T]: the tokens that a mean is taken over, or their weights in it; all real
        ones alike if it is None. `unit`: token states are brought to length one before the mean of a layer.
        """
        if read == "tokens":
            return self._forward(ids, mask, attention), mask if counted is None else counted
        if read == "last-token":
            states = _pool_eos(mask)(self._forward(ids, mask, attention))[:, None]  # [B, 1, d]
            return states, torch.ones(states.shape[:2], dtype=torch.long, device=states.device)
        pool = _pool_eos(mask) if read == "layer-eos" else _pool_mean(mask if counted is None else counted, unit)
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

    def positions(self, mask: Tensor) -> Tensor:
        """Position of each token [B, T], counted over real tokens from where the model begins to count.

        Padding stands where the model puts it: on the first position, or before it in a RoBERTa-like model.
        """
        count = mask.cumsum(-1) * mask
        return count + self.position_offset - 1 if self.position_offset else (count - 1).clamp(min=0)

    def own_forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Last hidden state [B, T, d] of the model as it is called by others: ids and a 2-D mask, nothing else."""
        return self._run(input_ids=ids, attention_mask=mask)

    def _forward(self, ids: Tensor, mask: Tensor, attention: Attention) -> Tensor:
        """Last hidden state [B, T, d] with the attention asked for.

        The attention of the model's pretraining is left to the model; the other one is asked of it.
        """
        arguments: dict[str, Any] = {"input_ids": ids, "attention_mask": mask}
        if self.takes_positions:  # without them GPT-2 and BERT change with left padding
            arguments["position_ids"] = self.positions(mask)
        if attention == self.natural:
            return self._run(**arguments)
        if not self.decoder:
            # An encoder told is_causal=True is silently wrong; an explicit 4-D mask is right on sdpa and eager.
            return self._run(**arguments | {"attention_mask": self._causal_mask(ids, mask)})
        # Works by writing config.is_causal for the time of the call, hence not thread-safe.
        with self._same_reach():
            return self._run(**arguments, is_causal=False)

    def _run(self, **arguments: Any) -> Tensor:
        if self.takes_cache:
            arguments["use_cache"] = False
        device = arguments["input_ids"].device.type
        with torch.autocast(device, self.dtype) if self.autocast else nullcontext():
            return self.model(**arguments).last_hidden_state

    @contextmanager
    def _same_reach(self) -> Iterator[None]:
        """A decoder's window reaches as far to the right as it reaches to the left.

        A causal window of w tokens ends at the token itself: it reaches w - 1 back. The library's bidirectional masks
        count w tokens to each side, one further than any distance that the model saw in pretraining.
        """
        window = getattr(self.config, "sliding_window", None)
        if not window:
            yield
            return
        self.config.sliding_window = window - 1
        try:
            yield
        finally:
            self.config.sliding_window = window

    def _causal_mask(self, ids: Tensor, mask: Tensor) -> Any:
        """The causal mask of an encoder, 4-D; one for each kind of layer where they differ."""
        from transformers import masking_utils as masks

        config = copy.copy(self.config)
        config.is_causal = True
        common: dict[str, Any] = {
            "config": config,
            "inputs_embeds": torch.empty((*ids.shape, 1), dtype=self.dtype, device=ids.device),
            "attention_mask": mask,
            "past_key_values": None,
            "allow_is_causal_skip": False,
        }
        full = masks.create_causal_mask(**common)
        if "sliding_attention" not in set(getattr(self.config, "layer_types", None) or ()):
            return full
        if not getattr(self.config, "use_bidirectional_attention", False):
            # ModernBERT's window counts the tokens on each side, a causal one the token itself as well: same reach.
            # Gemma's embedding models count as causal ones do: |distance| < window.
            config.sliding_window += 1
        return {"full_attention": full, "sliding_attention": masks.create_sliding_window_causal_mask(**common)}

    def _is_causal_by_itself(self) -> bool:
        """Whether a change of the last token leaves the first one's state as it was (BLOOM's modules do not tell)."""
        device = next(self.model.parameters()).device
        ids = torch.tensor([[5, 6, 7], [5, 6, 8]], device=device)
        training = self.model.training
        self.model.eval()
        with torch.inference_mode():
            first = self._run(input_ids=ids, attention_mask=torch.ones_like(ids))[:, 0]
        self.model.train(training)
        return torch.equal(first[0], first[1])


def position_offset(model: nn.Module) -> int:
    """The position of the first token: 0, and padding index + 1 in RoBERTa and its relatives (MPNet, XLM-R, CamemBERT).

    These keep a row of their table of positions for padding, by which they are known.
    """
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding) and module.padding_idx is not None:
            return module.padding_idx + 1
    return 0


def _pool_eos(mask: Tensor):
    rows, end = torch.arange(len(mask), device=mask.device), last_real(mask)
    return lambda hidden: hidden[rows, end].float()


def _pool_mean(mask: Tensor, unit: bool = False):
    weights = mask / mask.sum(1, keepdim=True)
    left_out = ~mask.bool()[..., None]

    def pool(hidden: Tensor) -> Tensor:
        hidden = hidden.float().masked_fill(left_out, 0.0)
        hidden = nn.functional.normalize(hidden, dim=-1) if unit else hidden
        return torch.einsum("bt,btd->bd", weights, hidden)

    return pool


def find_blocks(model: nn.Module, layers: int) -> list[nn.Module]:
    """The transformer blocks in order: the first module list of that length."""
    for module in model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == layers:
            return list(module)
    raise InputError(f"no list of {layers} layers found in {type(model).__name__}")
