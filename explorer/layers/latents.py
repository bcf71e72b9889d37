"""Latents grouped by what they read, so that hundreds of them can be looked at: groups in order of depth.

groups = group_latents(weights.latents)      # [N, n] -> order [N], group of each, mean of each group [G, n]
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MOST = 8
"""Groups at most: as many rows as one looks through."""

ALIKE = 0.02
"""Groups whose distributions differ by less (Hellinger distance, 0 to 1) are one."""


@dataclass(frozen=True, eq=False)
class LatentGroups:
    """Groups numbered from 1, the one that reads the lowest layers (or first tokens) first."""

    labels: np.ndarray
    """[N]: the group of each latent."""
    order: np.ndarray
    """[N]: latents group by group, within a group by depth."""
    means: np.ndarray
    """[G, n]: what each group reads on average."""

    @property
    def sizes(self) -> list[int]:
        """Latents in each group."""
        return np.bincount(self.labels)[1:].tolist()


def group_latents(rows: np.ndarray, most: int = MOST) -> LatentGroups:
    """Average-linkage clustering (scipy) of the distributions `rows` [N, n] under the Hellinger distance.

    Deterministic. Latents that all read alike are one group.
    """
    depth = rows @ np.arange(1, rows.shape[1] + 1)  # [N]: the mean layer number that a latent reads
    found = _clusters(rows, most)
    by_depth = sorted(set(found), key=lambda c: (float(depth[found == c].mean()), c))
    labels = np.array([by_depth.index(c) + 1 for c in found])
    means = np.stack([rows[labels == g].mean(0) for g in range(1, len(by_depth) + 1)])
    return LatentGroups(labels, np.lexsort((depth, labels)), means)


def _clusters(rows: np.ndarray, most: int) -> np.ndarray:
    """Any number for each cluster, [N]."""
    if len(rows) == 1:
        return np.ones(1, int)
    from scipy.cluster.hierarchy import fcluster, linkage

    tree = linkage(np.sqrt(rows.astype(float)) / 2**0.5, "average")
    return fcluster(tree, min(most, 1 + int((tree[:, 2] > ALIKE).sum())), "maxclust")
