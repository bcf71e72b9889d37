"""Print how near our states are to each model family's own forward, on tiny random models: python tests/parity.py

Columns: the attention of pretraining; the largest difference of last-layer states, texts padded on the right and on the
left, relative to the largest state; whether the other attention works, is refused, or which layers stand in its way.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import torch

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

import tiny  # noqa: E402

from explorer.backbone import Backbone  # noqa: E402
from explorer.errors import InputError  # noqa: E402

LENGTHS = [13, 20, 2, 9]


def padded(backbone: Backbone, side: str):
    """A batch whose padding is the model's own, and whose text does not hold that id."""
    ids, mask = tiny.batch(LENGTHS, 24, side)
    return torch.where(mask.bool(), ids.clamp(min=2), backbone.config.pad_token_id or 0), mask


@torch.inference_mode()
def row(architecture: str, kernel: str) -> list[str]:
    """One line of the table."""
    backbone = tiny.backbone(architecture, kernel)
    ids, mask = padded(backbone, "right")
    own = backbone.model(ids, attention_mask=mask).last_hidden_state[mask.bool()]
    natural = backbone.reader.natural
    found = []
    for side in ("right", "left"):
        ids, mask = padded(backbone, side)
        states = backbone.states(ids, mask, attention=natural, read="tokens")[0][mask.bool()]
        found.append(f"{float((states - own).abs().max() / own.abs().max()):.0e}")
    other = "bidirectional" if natural == "causal" else "causal"
    try:
        backbone.states(ids, mask, attention=other, read="tokens")
        works = "works"
    except InputError as error:
        layers = re.search(r"layers (.*?) of .*\((\w+)\)", str(error))
        works = f"refused: layers {layers[1]} ({layers[2]})" if layers else "refused"
    return [architecture, kernel, natural, *found, works]


def main() -> None:
    """Print the table in Markdown."""
    print(
        "| family | kernel | pretrained | right | left | the other attention |\n| --- | --- | --- | ---: | ---: | --- |"
    )
    for architecture in (*tiny.ARCHITECTURES, *tiny.ONE_ATTENTION, *tiny.HYBRIDS):
        for kernel in tiny.KERNELS[architecture]:
            print("| " + " | ".join(row(architecture, kernel)) + " |", flush=True)


if __name__ == "__main__":
    main()
