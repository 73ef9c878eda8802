"""Choose places that are worth labelling and differ from one another."""

import numpy as np
from numpy.typing import NDArray


def choose(
    features: NDArray[np.float64], weights: NDArray[np.float64], count: int, seed: int
) -> NDArray[np.int64]:
    """Draw rows that lie far from each other, by the seeding of k-means++.

    The first row is taken; each further one is drawn with a probability proportional to its weight times its
    squared distance to the nearest one taken (Arthur and Vassilvitskii 2007, k-means++: The Advantages of
    Careful Seeding; as in batch active learning by Ash et al. 2020, arXiv:1906.03671).

    Parameters
    ----------
    features
        Shape (rows, features), the most worth row first.
    weights
        How much each row is worth, not negative, shape (rows,).
    count
        Rows to choose; at most as many as there are.
    seed
        The same seed draws the same rows.

    Examples
    --------
    >>> choose(np.array([[0.0], [0.0], [9.0]]), np.ones(3), 2, seed=0).tolist()
    [0, 2]
    """
    random, chosen = np.random.default_rng(seed), [0]
    nearest = np.full(len(features), np.inf)
    while len(chosen) < min(count, len(features)):
        apart = ((features - features[chosen[-1]]) ** 2).sum(axis=1)
        nearest = np.minimum(nearest, apart)
        nearest[chosen] = 0
        chances = nearest * weights
        if not chances.any():
            # The others are like those taken: the most worth one is next.
            chances = np.zeros(len(features))
            chances[next(i for i in range(len(features)) if i not in chosen)] = 1
        chosen.append(int(random.choice(len(features), p=chances / chances.sum())))
    return np.array(chosen, np.int64)


def comparable(*groups: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return groups of features side by side, each of the same total variance.

    Parameters
    ----------
    groups
        Shape (rows, features) each.
    """
    scaled = []
    for group in groups:
        spread = np.sqrt(group.var(axis=0).sum())
        scaled.append(group / spread if spread else np.zeros_like(group))
    return np.concatenate(scaled, axis=1)
