"""Does a backbone compute what is asked of it? Checked once for each attention before anything is encoded.

A library may ignore a request without an error, half precision may overflow, and some models have layers that no mask
can turn. The check runs one forward of two texts and looks at every layer by itself:

1. Every state is finite.
2. Between layers, both texts are made equal but for their last token. What differs after the layer came through it:
   in causal mode nothing but the last token, in bidirectional mode an earlier token too.
3. In the attention of the pretraining, the states are those of the model called with ids and a mask alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .designs import Attention
from .errors import InputError
from .states import SAME, StateReader, on_blocks


def verify_attention(reader: StateReader, ids: Tensor, attention: Attention, name: str) -> None:
    """Check one attention of a backbone on the tokens `ids` [T] of a text, T > 1.

    Raises `InputError` that says what is the matter: states that are not finite, an architecture that cannot be run
    with this attention, layers that do not obey it, or positions that are not the model's.
    """
    kind = f"'{name}' ({reader.config.model_type})"
    rows = ids.repeat(2, 1)  # [2, T]
    rows[1, -1] = (rows[1, -1] + 1) % reader.config.vocab_size
    mask = torch.ones_like(rows)
    with torch.inference_mode():
        try:
            moved, finite = _layer_by_layer(reader, rows, mask, attention)
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            if isinstance(error, torch.OutOfMemoryError) or "memory" in str(error):
                raise
            raise InputError(
                f"the architecture of the backbone {kind} cannot be run with {attention} attention here; "
                f"it was pretrained with {reader.natural} attention"
            ) from error
        _check_finite(finite, reader, kind)
        _check_layers(moved, reader, attention, kind)
        if attention == reader.natural:
            _check_parity(reader, rows[:1], mask[:1], kind)


def _layer_by_layer(reader: StateReader, ids: Tensor, mask: Tensor, attention: Attention) -> tuple[Tensor, Tensor]:
    """For each layer [L]: whether an earlier token took notice of the last one, and whether all states are finite."""
    with on_blocks(reader.blocks, lambda _, states: _differ_in_the_last_token(states)):
        found = reader.each_layer(ids, mask, attention, lambda _, states: _told(states, _tolerance(reader)))
    moved, finite = torch.stack(found).T
    return moved.bool(), finite.bool()


def _differ_in_the_last_token(states: Tensor) -> Tensor:
    """The second text's states become the first one's, but for the last token: its entries are turned by one place."""
    states = states.clone()
    states[1] = states[0]
    states[1, -1] = states[0, -1].roll(1)
    return states


def _told(states: Tensor, tolerance: float) -> Tensor:
    """[2]: moved, finite."""
    first, second = states[0, :-1].float(), states[1, :-1].float()
    moved = ((first - second).abs() > tolerance * first.abs().amax(-1, keepdim=True)).any()
    return torch.stack([moved, torch.isfinite(states).all()])


def _tolerance(reader: StateReader) -> float:
    """By how much a token's state may differ, relative to its largest entry, though it does not see the last token.

    A matrix product may add up two rows of a batch in two orders: 5e-7 in float32 on SmolLM2, where tokens that do see
    the last one differ by 1e-3 and more. In half precision such differences are mostly rounded away, and so may be
    those that are looked for; only experts, which compute rows of several texts at once, need room.
    """
    if reader.dtype == torch.float32:
        return 5e-6
    experts = any(getattr(reader.config, name, None) for name in ("num_experts", "num_local_experts"))
    return 2 * torch.finfo(reader.dtype).eps if experts else 0.0


def _check_finite(finite: Tensor, reader: StateReader, kind: str) -> None:
    if not finite.all():
        dtype = str(reader.dtype).removeprefix("torch.")
        where = int((~finite).nonzero()[0]) + 1
        other = "" if reader.dtype == torch.float32 else "; use --dtype float32"
        raise InputError(
            f"the backbone {kind} gives infinite or undefined numbers (NaN) from layer {where} on in {dtype}{other}"
        )


def _check_layers(moved: Tensor, reader: StateReader, attention: Attention, kind: str) -> None:
    wrong = moved if attention == "causal" else ~moved
    if not wrong.any():
        return
    if wrong.all():
        raise InputError(
            f"the backbone {kind} does not obey {attention} attention here, "
            "so designs that need it cannot be used with it"
        )
    layers = [i + 1 for i, bad in enumerate(wrong.tolist()) if bad]
    kinds = sorted({layer_kind(reader, i) for i in layers})
    does = "see later tokens" if attention == "causal" else "stay causal"
    raise InputError(
        f"layers {_listed(layers)} of the backbone {kind} {does} whatever is asked of them ({', '.join(kinds)}), "
        f"so designs with {attention} attention cannot be used with it"
    )


def layer_kind(reader: StateReader, layer: int) -> str:
    """What the configuration calls the layer of that number, 1..L; its class's name where it says nothing."""
    kinds: Sequence[str] = getattr(reader.config, "layer_types", None) or ()
    return kinds[layer - 1] if layer <= len(kinds) else type(reader.blocks[layer - 1]).__name__


def consecutive(numbers: Sequence[int]) -> list[list[int]]:
    """Split rising numbers into runs without a gap: [1, 2, 5] -> [[1, 2], [5]]."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return runs


def _listed(layers: Sequence[int]) -> str:
    """Layer numbers as text, runs of three or more shortened: "1, 2, 4 to 7"."""
    runs = consecutive(layers)
    return ", ".join(f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs)


def _check_parity(reader: StateReader, ids: Tensor, mask: Tensor, kind: str) -> None:
    ours, own = reader.states(ids, mask, reader.natural, "tokens")[0].float(), reader.own_forward(ids, mask).float()
    if (ours - own).abs().max() > SAME[reader.dtype] * own.abs().max():
        raise InputError(
            f"the positions of the backbone {kind} are not understood: its states differ from those it computes by "
            "itself, so it cannot be used here"
        )
