"""Seeded draws, mostly from tables, so that one costs a look-up."""

import random
from collections.abc import Iterable, Sequence
from typing import TypeVar

T = TypeVar("T")


class Draws(random.Random):
    """A stream of draws that depends on its seed alone. No secret may be made of it.

    The seed is text: it goes through SHA-512, where the numbers -1 and 1 would be one seed.
    """

    def __init__(self, seed: str) -> None:
        super().__init__(seed)

    def pick(self, table: Sequence[T]) -> T:
        """Return any item; a third of the time that choice() takes."""
        return table[int(self.random() * len(table))]

    def log_normal(
        self, mu: float, sigma: float, *, least: float, most: float, count: int
    ) -> list[float]:
        """Return so many numbers, each brought into [least, most]."""
        return [min(most, max(least, self.lognormvariate(mu, sigma))) for _ in range(count)]


def lottery(weighted: Iterable[tuple[T, float]], *, tickets: int) -> list[T]:
    """Return about so many tickets, to each item its share and at least one, to pick from."""
    pairs = list(weighted)
    total = sum(weight for _, weight in pairs)
    return [item for item, weight in pairs for _ in range(max(1, round(weight / total * tickets)))]


def zipf(count: int) -> list[float]:
    """Return weights of a popularity: the second has half of the first, the third a third."""
    return [1 / rank for rank in range(1, count + 1)]
