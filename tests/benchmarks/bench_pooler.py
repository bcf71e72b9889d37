"""What do the exact rewrites of the trainable poolers save? The optimised pooler against its plain form, in one run.

    python tests/benchmarks/bench_pooler.py

Plain means: queries computed for every text, A V before W_o, W_2 before the mean over latents; batched, with PyTorch's
own kernels. Prints median processor milliseconds a batch on one thread, forward, and forward with backward. Most is
saved where the heads are much wider than the backbone, as the paper has them (32 x 2048 at d = 4096).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from explorer.pooling import CrossAttentionPooler, PoolerConfig

SIZES = {
    "small, 6 layers": (PoolerConfig(384, latents=32, heads=6, head_dim=64, layers=6), 64, 6),
    "small, 128 tokens": (PoolerConfig(384, latents=32, heads=6, head_dim=64), 16, 128),
    "mid, 24 layers": (PoolerConfig(896, latents=128, heads=14, head_dim=128, layers=24), 16, 24),
    "mid, 128 tokens": (PoolerConfig(896, latents=128, heads=14, head_dim=128), 8, 128),
    "the paper's proportions": (PoolerConfig(256, latents=192, heads=8, head_dim=512, layers=8), 8, 8),
}
REPEATS = 7


def plain(pooler: CrossAttentionPooler, states: Tensor, mask: Tensor) -> Tensor:
    """The pooler as DESIGN.md has it, batched: [B, n, d] -> [B, d]."""
    c, b, n = pooler.config, *states.shape[:2]
    if pooler.layer_matrix is not None:
        states = states + pooler.layer_matrix
    latents = pooler.latents.expand(b, -1, -1)
    q = pooler.to_q(pooler.norm_latents(latents)).view(b, c.latents, c.heads, c.head_dim).transpose(1, 2)
    k, v = pooler.to_kv(pooler.norm_states(states)).view(b, n, 2, c.heads, c.head_dim).permute(2, 0, 3, 1, 4)
    weights = (q @ k.transpose(-1, -2) * c.head_dim**-0.5).masked_fill(mask[:, None, None] == 0, -torch.inf).softmax(-1)
    x = pooler.to_out((weights @ v).transpose(1, 2).reshape(b, c.latents, -1)) + latents
    value, gate = pooler.mlp_in(pooler.norm_mlp(x)).chunk(2, dim=-1)
    x = x + pooler.mlp_out(value * F.gelu(gate))
    return F.normalize(x.mean(1), dim=-1)


def timed(run: Callable[[], object]) -> float:
    start = time.process_time()
    run()
    return 1000 * (time.process_time() - start)


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    print(f"{'':32}{'forward: plain':>16}{'ours':>10}{'':>8}{'with backward: plain':>22}{'ours':>10}")
    for name, (config, batch, n) in SIZES.items():
        pooler = CrossAttentionPooler(config)
        states, mask = torch.randn(batch, n, config.width), torch.ones(batch, n, dtype=torch.long)
        forms = {
            "plain": lambda p=pooler, s=states, m=mask: plain(p, s, m),
            "ours": lambda p=pooler, s=states, m=mask: p(s, m),
        }
        assert (forms["plain"]() - forms["ours"]()).abs().max() < 2e-6
        row = f"{name:32}"
        for backward in (False, True):
            spent: dict[str, list[float]] = {form: [] for form in forms}
            for _ in range(REPEATS):
                for form, run in forms.items():
                    with torch.set_grad_enabled(backward):
                        spent[form].append(timed(lambda r=run, b=backward: r().sum().backward() if b else r()))
            a, b = median(spent["plain"]), median(spent["ours"])
            row += f"{a:13.1f} ms{b:7.1f} ms{a / b:6.1f}x"
        print(row)


if __name__ == "__main__":
    main()
