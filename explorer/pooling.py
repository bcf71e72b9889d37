"""The poolers: states [B, n, d] and mask [B, n] -> unit embedding [B, d], and on request the weights that were used.

`n` counts tokens or layers. Every pooler is called the same way, so that a design is data and not a copied file:

    embedding = pooler(states, mask)
    embedding, weights = pooler(states, mask, return_weights=True)   # weights [B, heads, N, n], sum 1 over n

The two trainable poolers follow the paper's section 3.2 with the notation of its figure 2:

    Q = LN_z(Z) W_q        K, V = R W_kv        A = softmax(Q K^T / sqrt(head_dim) [+ mask])
    X = concat_heads(A V) W_o + Z
    X = X + W_2 (a * gelu(g)) + b_2,   a, g = split(W_1 LN_x(X) + b_1)
    e = normalize(mean over the N latents of X)

R is LN_h(H) for the last-layer pooler. The multi-layer pooler adds a trained layer matrix E [L, d], in one of two
places (`PoolerConfig.layer_matrix_added`):

    before-norm    R = LN_h(H + E)      the paper's; all its releases, and our variants from before the choice
    after-norm     R = LN_h(H) + E      new trainings, but for `--pooler-init paper`

Before the norm E has to be seen beside the states themselves. Those of a language model are 15 to 36,000 long, and E
stays about .4 long in training when it starts with entries of .02: without it vectors keep a cosine of .99999. After
the norm E stands beside entries of deviation 1 on every backbone, and starts at .3. So E counts; whether it helps is
another question. Poolers alone, trained for 60 steps on cached states of SmolLM2-135M and MiniLM, say: not measurably.
nDCG@10 of held-out pairs, mean and deviation of three seeds; in brackets the cosine to the same vectors with E = 0:

    start and form              SmolLM2, Model 5       SmolLM2, Model 3        MiniLM, Model 5
    near-mean, no E             .702 ± .003            .335 ± .029             .835 ± .004
    near-mean, before-norm      .703 ± .003 (.9996)    .333 ± .032 (.99996)    .835 ± .006 (.997)
    near-mean, after-norm       .708 ± .007 (.89)      .340 ± .066 (.87)       .836 ± .006 (.98)
    paper, before-norm          .655 ± .010 (.75)
    paper, no E                 .660 ± .005

The command and the other forms tried stand in tests/benchmarks/bench_layer_matrix.py.

Where the paper's released code departs from its text, the text is followed: its Model 2 hands the pooler one token (a
softmax over one element, so W_q gets no gradient), its poolers mask no padding, and its layer matrix has 32 rows
whatever the backbone. A release of Model 2 is imported as it is, with one token: `Design.reads`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .designs import Design
from .errors import InputError


def last_real(mask: Tensor) -> Tensor:
    """Index of the last real token of each row [B], whichever side the padding is on. mask [B, n] of 0/1."""
    return mask.shape[1] - 1 - mask.flip(1).long().argmax(1)


def normalize(vectors: Tensor) -> Tensor:
    """Unit length in float32: half precision would lose three digits of every score."""
    return F.normalize(vectors.float(), dim=-1)


class FixedPooler(nn.Module):
    """A pooler without weights: a fixed distribution over the states, the same for every text of that length."""

    def weights(self, mask: Tensor) -> Tensor:
        """The distribution [B, n] that the mask alone determines."""
        raise NotImplementedError

    def forward(self, states: Tensor, mask: Tensor | None = None, return_weights: bool = False):
        mask = torch.ones(states.shape[:2], device=states.device) if mask is None else mask
        weights = self.weights(mask).float()  # [B, n]
        # Padded states may hold anything, even inf or nan from another kernel: zero weight alone would keep the nan.
        states = states.float().masked_fill(~mask.bool()[..., None], 0.0)
        embedding = normalize(torch.einsum("bn,bnd->bd", weights, states))
        return (embedding, weights[:, None, None, :]) if return_weights else embedding


class EosPooler(FixedPooler):
    """The state of the last real token (the end token) and nothing else."""

    def weights(self, mask: Tensor) -> Tensor:
        return F.one_hot(last_real(mask), mask.shape[1])


class MeanPooler(FixedPooler):
    """The mean of all real tokens."""

    def weights(self, mask: Tensor) -> Tensor:
        mask = mask.float()
        return mask / mask.sum(1, keepdim=True).clamp(min=1)


LayerMatrixPlace = Literal["before-norm", "after-norm"]

E_START: dict[LayerMatrixPlace, float] = {"before-norm": 0.02, "after-norm": 0.3}
"""Deviation of E's entries before training. Those of LN_h(H) have 1: beside them .02 stays unseen in a short run."""


@dataclass(frozen=True)
class PoolerConfig:
    """Sizes of a trainable pooler, and where its layer matrix is added."""

    width: int
    """d: width of the backbone's states."""
    latents: int
    """N: trained latents; they are the queries of the cross-attention."""
    heads: int
    """Attention heads."""
    head_dim: int
    """Width of one head. The paper uses 32 heads x 2048 at d = 4096; small backbones take small poolers."""
    layers: int = 0
    """Rows of the layer matrix E; 0 for the last-layer pooler, which has none."""
    layer_matrix_added: LayerMatrixPlace = "before-norm"
    """Where E is added: LN_h(H + E), as in the paper and in records that do not say, or LN_h(H) + E."""

    def __post_init__(self) -> None:
        for name in ("width", "latents", "heads", "head_dim", "layers"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < (0 if name == "layers" else 1):
                raise InputError(f"pooler size {name} = {value!r} must be a positive whole number")
        places = get_args(LayerMatrixPlace)
        if self.layer_matrix_added not in places:
            raise InputError(f"layer_matrix_added = {self.layer_matrix_added!r} is none of: {', '.join(places)}")

    def identity(self) -> str:
        """What tells this configuration from others in the keys of caches and of recorded scores.

        What came before `layer_matrix_added` keeps the key that it had then.
        """
        values = asdict(self)
        if self.layer_matrix_added == "before-norm":
            del values["layer_matrix_added"]
        return json.dumps(values)

    @staticmethod
    def default(width: int, layers: int = 0) -> PoolerConfig:
        """Sizes that follow the backbone's width: heads of 64 that fill it, 32 latents (the paper's 768 from 4096)."""
        return PoolerConfig(
            width, latents=768 if width >= 4096 else 32, heads=max(1, width // 64), head_dim=64, layers=layers
        )


class CrossAttentionPooler(nn.Module):
    """Latents attend to the states; the multi-layer pooler (config.layers > 0) first adds the layer matrix E.

    Three exact rewrites make it several times cheaper than its plain form: Q is computed once for the batch, since it
    does not depend on the text; V and W_o are folded when n is small; the mean over latents is taken before W_2.
    """

    def __init__(self, config: PoolerConfig) -> None:
        super().__init__()
        d, inner = config.width, config.heads * config.head_dim
        self.config = config
        self.latents = nn.Parameter(torch.randn(config.latents, d) * 0.02)  # Z
        start = E_START[config.layer_matrix_added]
        self.layer_matrix = nn.Parameter(torch.randn(config.layers, d) * start) if config.layers else None  # E
        self.norm_latents = nn.LayerNorm(d)  # LN_z
        self.norm_states = nn.LayerNorm(d)  # LN_h
        self.to_q = nn.Linear(d, inner, bias=False)
        self.to_kv = nn.Linear(d, 2 * inner, bias=False)
        self.to_out = nn.Linear(inner, d, bias=False)
        self.norm_mlp = nn.LayerNorm(d)  # LN_x
        self.mlp_in = nn.Linear(d, 8 * d)  # W_1, b_1: value half first, then the gate
        self.mlp_out = nn.Linear(4 * d, d)  # W_2, b_2

    @torch.no_grad()
    def init_as_paper(self) -> None:
        """Start as the paper's released code does: latents and E from N(0, 1), all else as PyTorch starts it."""
        self.latents.normal_()
        if self.layer_matrix is not None:
            self.layer_matrix.normal_()

    @torch.no_grad()
    def init_near_mean(self, sample: Tensor | None = None) -> None:
        """Start near what needs no training: e ~ the mean of LN_h(H), which is about mean pooling.

        W_v is the identity, W_o its inverse (a projection where the heads are narrower than d), W_2 is nearly zero.
        W_q and W_k stay small and random, so that attention starts nearly uniform and learns from the first step.
        With a `sample` of layer states [B, L, d] the multi-layer pooler's attention starts on the last layer, with most
        of the weight, because that is the state that the backbone was trained to hand out.
        """
        inner, d = self.to_out.in_features, self.config.width
        identity = torch.eye(inner, d) if inner >= d else nn.init.orthogonal_(torch.empty(inner, d))
        self.to_kv.weight[inner:] = identity
        self.to_out.weight.copy_(identity.T)
        nn.init.normal_(self.mlp_out.weight, std=1e-3)
        nn.init.zeros_(self.mlp_out.bias)
        if self.layer_matrix is not None and self.config.layer_matrix_added == "after-norm":
            self.layer_matrix.sub_(self.layer_matrix.mean(0))  # so that E adds nothing to the mean over the layers
        if sample is not None:
            self._attend_to_last_layer(sample)

    def _attend_to_last_layer(self, sample: Tensor) -> None:
        """The last row of E carries a mark, a direction m that no state of the sample has and queries look for.

        LN_z's bias gives every query the same part r = W_q m; W_k sends m to r times what makes the score of the
        marked state log(9 (L - 1)), with which a softmax over L layers would put 0.9 on the last if all other scores
        were equal. They are not, as W_q and W_k are random, so each head is then corrected by what it does on the
        sample: the last layer gets 0.9 of every head.
        """
        if self.layer_matrix is None:
            raise ValueError("only the multi-layer pooler has a layer matrix")
        c = self.config
        if c.layers == 1:
            return
        sample = sample.float().cpu()
        used = torch.linalg.qr(self.norm_states(sample).mean(0).T).Q  # [d, L]: where the layers usually lie
        m = torch.randn(c.width)
        m = normalize(m - used @ (used.T @ m))
        share = 0.3  # of the norm of the last state: small, yet seen
        seen = share * c.width**0.5  # m's part of LN_h(H) + E, as the norm of LN_h(H) is the root of d
        if c.layer_matrix_added == "after-norm":
            self.layer_matrix[-1] = seen * m  # alone: it is most of E that reaches the vector
        else:
            self.layer_matrix[-1] += share * sample[:, -1].norm(dim=-1).mean() * m
            seen /= (1 + share**2) ** 0.5  # LN_h shrinks H and E together
        bias = m * c.width**0.5
        self.norm_latents.bias.copy_(bias)
        r = (self.to_q.weight @ bias).view(c.heads, c.head_dim)
        keys, _ = self.keys_values(sample)
        queries = self.queries()
        scores = torch.einsum("hld,bhnd->bhln", queries, keys)  # [B, heads, N, L]: before W_k knows the mark
        along = torch.einsum("hld,hd->hl", queries, r)[:, :, None] * (self.normed(sample) @ m)[:, None, None]
        one = r.norm(dim=1) ** 2 * c.head_dim**-0.5 * seen  # [heads]: the marked state's score, if W_k m were r
        strength = math.log(9 * (c.layers - 1)) / one
        for _ in range(30):  # of numbers that are at hand: the correction costs nothing
            last = (scores + strength[:, None, None] * along).softmax(-1)[..., -1].mean((0, 2))  # [heads]
            strength += (math.log(9) - torch.logit(last, eps=1e-6)) / one
        self.to_kv.weight[: self.to_out.in_features] += torch.outer((r * strength[:, None]).flatten(), m)

    def queries(self) -> Tensor:
        """Q [heads, N, head_dim], already scaled. It holds no text: computed once a batch."""
        c = self.config
        q = self.to_q(self.norm_latents(self.latents)) * c.head_dim**-0.5
        return q.view(c.latents, c.heads, c.head_dim).transpose(0, 1)

    def normed(self, states: Tensor, with_matrix: bool = True) -> Tensor:
        """What keys and values are made from [..., n, d]: LN_h(H + E) or LN_h(H) + E, as the configuration says.

        Args:
            states: H [..., n, d].
            with_matrix: False leaves E out, to see what it contributes.

        Raises:
            ValueError: the pooler has a layer matrix with another number of rows than n.
        """
        e = self.layer_matrix
        if e is None:
            return self.norm_states(states)
        if states.shape[-2] != len(e):
            raise ValueError(f"{states.shape[-2]} layer states for a layer matrix of {len(e)} rows")
        if not with_matrix:
            return self.norm_states(states)
        if self.config.layer_matrix_added == "after-norm":
            return self.norm_states(states) + e
        return self.norm_states(states + e)

    def keys_values(self, states: Tensor, with_matrix: bool = True) -> tuple[Tensor, Tensor]:
        """K and V [B, heads, n, head_dim] of the states [B, n, d]; `with_matrix` as in `normed`."""
        kv = self.to_kv(self.normed(states, with_matrix))  # [B, n, 2 * heads * head_dim]
        b, n, _ = kv.shape
        return kv.view(b, n, 2, self.config.heads, self.config.head_dim).permute(2, 0, 3, 1, 4).unbind(0)

    def attention(self, keys: Tensor, mask: Tensor | None) -> Tensor:
        """A [B, heads, N, n]: what every latent of every head reads. Masked states get exactly zero."""
        scores = torch.einsum("hld,bhnd->bhln", self.queries(), keys).float()
        if mask is not None:
            keep = mask.bool()
            if not bool(keep.any(1).all()):
                raise ValueError("a text with no state to read: every row of the mask needs a one")
            scores = scores.masked_fill(~keep[:, None, None, :], float("-inf"))
        return scores.softmax(-1)

    def mix(self, weights: Tensor, values: Tensor) -> Tensor:
        """concat_heads(A V) W_o [B, N, d], in the cheaper of two exact orders."""
        weights = weights.to(values.dtype)
        (b, h, n, hd), latents, d = values.shape, self.config.latents, self.config.width
        w_out = self.to_out.weight.view(d, h, hd)
        folded = n * h * hd * d + h * latents * n * d
        plain = latents * n * h * hd + latents * h * hd * d
        if folded < plain:
            per_state = torch.einsum("bhnk,dhk->bhnd", values, w_out)  # V W_o of every head
            return torch.einsum("bhln,bhnd->bld", weights, per_state)
        mixed = torch.einsum("bhln,bhnk->blhk", weights, values).reshape(b, latents, h * hd)
        return self.to_out(mixed)

    def head(self, mixed: Tensor) -> Tensor:
        """From the attention output [B, N, d] to the unit embedding [B, d]: residual, GEGLU, mean over latents.

        mean(X + W_2 h + b_2) = mean(X) + W_2 mean(h) + b_2: W_2 runs once a text instead of once a latent.
        """
        x = mixed + self.latents
        value, gate = self.mlp_in(self.norm_mlp(x)).chunk(2, dim=-1)
        hidden = (value * F.gelu(gate)).mean(1)
        return normalize(x.mean(1) + self.mlp_out(hidden))

    def forward(self, states: Tensor, mask: Tensor | None = None, return_weights: bool = False):
        """states [B, n, d]; mask [B, n] of 0/1, or None when every state counts."""
        states = states.to(self.latents.dtype)
        if mask is not None:  # see FixedPooler: padding may hold nan
            states = states.masked_fill(~mask.bool()[..., None], 0.0)
        keys, values = self.keys_values(states)
        weights = self.attention(keys, mask)
        embedding = self.head(self.mix(weights, values))
        return (embedding, weights) if return_weights else embedding


Pooler = FixedPooler | CrossAttentionPooler


def build_pooler(design: Design, width: int, layers: int, config: PoolerConfig | None = None) -> Pooler:
    """The pooler of a design on a backbone of that width and number of layers.

    Raises `InputError` when `config` does not fit the backbone.
    """
    if design.pooling == "eos":
        return EosPooler()
    if design.pooling == "mean":
        return MeanPooler()
    rows = layers if design.pooling == "multi-layer" else 0
    config = config or PoolerConfig.default(width, rows)
    if (config.width, config.layers) != (width, rows):
        raise InputError(
            f"the pooler was made for width {config.width} and {config.layers} layers, "
            f"this backbone needs width {width} and {rows} layers"
        )
    return CrossAttentionPooler(config)


PAPER_NAMES: dict[str, str] = {
    "latents": "latents",
    "pos_emb.weight": "layer_matrix",
    "cross_attend_blocks.0.norm.": "norm_states.",
    "cross_attend_blocks.0.norm_context.": "norm_latents.",
    "cross_attend_blocks.0.fn.to_q.": "to_q.",
    "cross_attend_blocks.0.fn.to_kv.": "to_kv.",
    "cross_attend_blocks.0.fn.to_out.": "to_out.",
    "cross_attend_blocks.1.norm.": "norm_mlp.",
    "cross_attend_blocks.1.fn.net.0.": "mlp_in.",
    "cross_attend_blocks.1.fn.net.2.": "mlp_out.",
}
"""Tensor names of the paper's released `attn_pool.pt` -> ours. Its `norm` is LN_h and its `norm_context` LN_z."""


def paper_name(name: str) -> str:
    """The name in the paper's release of a tensor that we call `name`."""
    theirs, ours = next((t, o) for t, o in PAPER_NAMES.items() if name == o or (o.endswith(".") and name.startswith(o)))
    return theirs + name[len(ours) :]


def from_paper_state_dict(tensors: Mapping[str, Tensor], heads: int) -> CrossAttentionPooler:
    """Either trainable pooler from tensors named as in the paper's release; `pos_emb.weight` makes it multi-layer.

    `heads` is not recorded in the file. Raises `InputError` naming missing or unknown tensors or an unfit `heads`.
    """
    ours: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        prefix = next((p for p in PAPER_NAMES if name == p or (p.endswith(".") and name.startswith(p))), None)
        if prefix is None:
            raise InputError(f"tensor '{name}' does not belong to a pooler of the paper's release")
        ours[PAPER_NAMES[prefix] + name[len(prefix) :]] = tensor
    if "latents" not in ours or "to_q.weight" not in ours:
        raise InputError(
            "a pooler of the paper's release needs the tensors 'latents' and 'cross_attend_blocks.0.fn.to_q.weight'"
        )
    for name in ("latents", "to_q.weight", "layer_matrix"):
        if name in ours and ours[name].ndim != 2:
            raise InputError(f"tensor '{paper_name(name)}' of the pooler file is no matrix")
    inner, width = ours["to_q.weight"].shape
    if heads < 1 or inner % heads:
        raise InputError(f"{heads} heads do not divide the {inner} rows of W_q")
    layers = len(ours["layer_matrix"]) if "layer_matrix" in ours else 0
    pooler = CrossAttentionPooler(PoolerConfig(width, len(ours["latents"]), heads, inner // heads, layers))
    missing = sorted(set(pooler.state_dict()) - set(ours))
    if missing:
        raise InputError(f"the pooler file lacks {', '.join(map(paper_name, missing))}")
    try:
        pooler.load_state_dict(ours)
    except RuntimeError as error:
        raise InputError(f"the pooler file does not fit together: {str(error).splitlines()[-1].strip()}") from error
    return pooler
