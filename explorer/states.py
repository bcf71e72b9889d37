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
from .packing import CannotPack, Layout, packed
from .pooling import last_real

if TYPE_CHECKING:
    from transformers import PreTrainedModel


SAME = {torch.float32: 1e-4, torch.bfloat16: 0.05, torch.float16: 0.01}
"""Largest accepted difference between two forwards that should give the same states, relative to the largest one."""


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
        self.has_types = any(name.endswith("token_type_embeddings") for name, _ in model.named_modules())
        self._packs: dict[tuple[Attention, torch.dtype], bool] = {}
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
        if self.packs(attention) and (layout := self._layout(mask)):
            return self._packed_states(layout, ids, mask, attention, read, counted, unit)
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
        return self._collect(take, lambda: self._forward(ids, mask, attention))

    def _collect(self, take: Callable[[int, Tensor], Tensor], forward: Callable[[], Tensor]) -> list[Tensor]:
        """What `take` makes of the states of each layer while `forward` runs the model and returns the last ones."""
        collected: dict[int, Tensor] = {}

        def hook(layer: int):
            def keep(_module, _inputs, output):
                collected[layer] = take(layer, output[0] if isinstance(output, tuple) else output)

            return keep

        handles = [block.register_forward_hook(hook(i)) for i, block in enumerate(self.blocks[:-1], start=1)]
        try:
            collected[self.layers] = take(self.layers, forward())
        finally:
            for handle in handles:
                handle.remove()
        return [collected[i] for i in range(1, self.layers + 1)]

    # -- without padding

    def packs(self, attention: Attention) -> bool:
        """Whether batches are computed without padding: found by a trial when it is asked first.

        Not with activation checkpointing, which runs parts of the model again when the layout is gone.
        """
        if getattr(self.model, "is_gradient_checkpointing", False) and self.model.training:
            return False
        key = (attention, self.dtype)
        if key not in self._packs:
            self._packs[key] = self._try_packing(attention)
        return self._packs[key]

    @torch.inference_mode()
    def _try_packing(self, attention: Attention) -> bool:
        """Whether a packed forward of four texts goes through our attention in every layer, with the same states.

        Layer by layer, each from what the padded forward handed to it: in half precision a bidirectional forward of a
        causal model may end far from where another order of sums ends.
        """
        device = next(self.model.parameters()).device
        longest = min([9, *(window // 2 for window in self._windows())])
        lengths = torch.tensor([longest // 2, longest, longest - 1, longest], device=device)  # two alike: one run
        mask = (torch.arange(longest, device=device) < lengths[:, None]).long()
        ids = torch.arange(mask.numel(), device=device).view(mask.shape) % self.config.vocab_size
        layout, training = Layout.of(mask), self.model.training
        given: list[Tensor] = []
        ours: list[Tensor] = []

        def hand_over(block: int, states: Tensor) -> Tensor:
            if block == 0:
                ours.append(states)  # what the embeddings gave, positions included
            return layout.flatten(given[block])

        self.model.eval()
        try:
            with on_blocks(self.blocks, lambda _, states: given.append(states)):
                plain = self.each_layer(ids, mask, attention, lambda _, states: layout.flatten(states))
            with packed(self.model, layout, attention == "causal") as forward, on_blocks(self.blocks, hand_over):
                arguments = self._packed_arguments(layout, ids, mask)
                ours += self._collect(lambda _, states: states, lambda: self._run(**arguments))
        except (CannotPack, RuntimeError, ValueError, TypeError, KeyError, IndexError, AttributeError):
            return False
        finally:
            self.model.train(training)
        pairs = zip(ours, [layout.flatten(given[0]), *plain], strict=True)
        near = [(a - b).abs().max() <= SAME[self.dtype] * b.abs().max() for a, b in pairs]
        return forward.calls == self.layers and all(map(bool, near))

    def _layout(self, mask: Tensor) -> Layout | None:
        """How to pack a batch; None where it has no padding, or is longer than a window of the model."""
        layout = Layout.of(mask)
        return layout if layout.saves and self._reaches(layout) else None

    def _reaches(self, layout: Layout) -> bool:
        """Whether every token sees the whole of its text: no layer has a window that is too short for it."""
        return all(layout.longest <= window // 2 for window in self._windows())

    def _windows(self) -> list[int]:
        """Tokens of local attentions, whichever way the model counts them."""
        found = (getattr(self.config, name, None) for name in ("sliding_window", "local_attention"))
        return [window for window in found if window]

    def _packed_arguments(self, layout: Layout, ids: Tensor, mask: Tensor) -> dict[str, Any]:
        arguments = {"input_ids": layout.flatten(ids)}
        if self.takes_positions:
            arguments["position_ids"] = layout.flatten(self.positions(mask))
        if self.has_types:  # a model that makes them itself makes them as long as its longest text
            arguments["token_type_ids"] = torch.zeros_like(arguments["input_ids"])
        return arguments

    def _packed_states(
        self,
        layout: Layout,
        ids: Tensor,
        mask: Tensor,
        attention: Attention,
        read: States,
        counted: Tensor | None,
        unit: bool,
    ) -> tuple[Tensor, Tensor]:
        """The same as `states`, without padding."""
        counted = mask if counted is None else counted
        arguments = self._packed_arguments(layout, ids, mask)
        with packed(self.model, layout, attention == "causal"):
            if read == "tokens":
                return layout.unflatten(self._run(**arguments)), counted
            if read == "last-token":
                states = self._run(**arguments)[0, layout.ends].float()[:, None]
            else:
                pool = _pick(layout.ends) if read == "layer-eos" else _average(layout.mean_weights(counted), unit)
                each = self._collect(lambda _, hidden: pool(hidden[0]), lambda: self._run(**arguments))
                states = torch.stack(each, dim=1)  # [B, L, d]
        return states, torch.ones(states.shape[:2], dtype=torch.long, device=states.device)

    # -- the model

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


def _pick(places: Tensor):
    return lambda row: row[places].float()


def _average(weights: Tensor, unit: bool):
    def pool(row: Tensor) -> Tensor:
        row = nn.functional.normalize(row.float(), dim=-1) if unit else row.float()
        return weights @ row

    return pool


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


@contextmanager
def on_blocks(blocks: list[nn.Module], change: Callable[[int, Tensor], Tensor | None]) -> Iterator[None]:
    """Call `change` with the place of each block, from 0, and the states that it gets; what it returns replaces them.

    With None they stay.
    """

    def hook(i: int):
        def exchange(_block: nn.Module, arguments: tuple, named: dict[str, Any]) -> tuple[tuple, dict[str, Any]] | None:
            states = change(i, arguments[0] if arguments else named["hidden_states"])
            if states is None:
                return None
            return ((states, *arguments[1:]), named) if arguments else ((), {**named, "hidden_states": states})

        return exchange

    handles = [block.register_forward_pre_hook(hook(i), with_kwargs=True) for i, block in enumerate(blocks)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def find_blocks(model: nn.Module, layers: int) -> list[nn.Module]:
    """The transformer blocks in order: the first module list of that length."""
    for module in model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == layers:
            return list(module)
    raise InputError(f"no list of {layers} layers found in {type(model).__name__}")
