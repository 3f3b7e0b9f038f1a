"""Random numbers that are a function of what they are for: seed, name, unit and place, and of nothing else.

A stream of numbers belongs to each unit (a subject, say) under each name.  So a unit's numbers are the same whether a
thousand units are drawn or one, in any order, by any process, and however many numbers of a unit are taken.

The generator is Philox 4x32 with 10 rounds: a bijection of 128-bit counters under a 64-bit key, evaluated for many
counters at once.

References
----------
Salmon, Moraes, Dror & Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011 (the generator and its constants).
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

__all__ = ["CounterRandom", "philox"]

ROUNDS = 10
MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
WEYL = (0x9E3779B9, 0xBB67AE85)
LOW, HALF = np.uint64(0xFFFFFFFF), np.uint64(32)
CHUNK = 1 << 20  # blocks at once: what a round reads and writes stays in the cache or near it

Words = NDArray[np.uint64]


def philox(counter: tuple[Words, Words, Words, Words], key: tuple[int, int]) -> tuple[Words, Words, Words, Words]:
    """Return four random 32-bit words for each counter of four such words: uint64 arrays, all of one shape.

    Examples
    --------
    >>> zero = np.zeros(1, np.uint64)
    >>> [hex(int(word[0])) for word in philox((zero, zero, zero, zero), key=(0, 0))]  # the authors' known answer
    ['0x6627e8d5', '0xe169c58d', '0xbc57ac4c', '0x9b00dbd8']
    """
    a, b, c, d = counter
    k0, k1 = key
    for _ in range(ROUNDS):
        first, second = a * MULTIPLIERS[0], c * MULTIPLIERS[1]
        a, b, c, d = (
            (second >> HALF) ^ b ^ np.uint64(k0),
            second & LOW,
            (first >> HALF) ^ d ^ np.uint64(k1),
            first & LOW,
        )
        k0, k1 = (k0 + WEYL[0]) & 0xFFFFFFFF, (k1 + WEYL[1]) & 0xFFFFFFFF
    return a, b, c, d


@dataclass(frozen=True)
class CounterRandom:
    """Streams of random numbers under one seed.

    Parameters
    ----------
    seed
        Any whole number.

    Examples
    --------
    >>> source = CounterRandom(seed=1)
    >>> many, one = source.normal("height", range(1000), (3,)), source.normal("height", [7], (2,))
    >>> bool((many[7, :2] == one[0]).all())
    True
    """

    seed: int

    def uniform(self, name: str, units: ArrayLike, shape: tuple[int, ...] = ()) -> NDArray[np.float64]:
        """Draw numbers between 0 and 1, neither included.

        Parameters
        ----------
        name
            What they are for.
        units
            ``(n,)`` whole numbers, 0 or more.
        shape
            Of one unit's numbers; those of a smaller first axis are the first of a larger one's.

        Returns
        -------
        ``(n, *shape)``, of 32 random bits each.
        """
        index = np.atleast_1d(np.asarray(units, np.uint64))
        count = math.prod(shape)
        blocks = -(-count // 4)
        words = np.empty((len(index) * blocks, 4))
        for begin in range(0, len(words), CHUNK):
            place = np.arange(begin, min(begin + CHUNK, len(words)), dtype=np.uint64)
            unit, block = index[place // np.uint64(max(blocks, 1))], place % np.uint64(max(blocks, 1))
            drawn = philox((block, np.zeros_like(block), unit & LOW, unit >> HALF), self._key(name))
            words[begin : begin + len(place)] = np.stack(drawn, -1)
        words = (words + 0.5) * 2.0**-32
        return words.reshape(len(index), 4 * blocks)[:, :count].reshape(len(index), *shape)

    def normal(self, name: str, units: ArrayLike, shape: tuple[int, ...] = ()) -> NDArray[np.float64]:
        """Draw standard normal numbers ``(n, *shape)``, as `uniform` does."""
        return np.asarray(ndtri(self.uniform(name, units, shape)))

    def _key(self, name: str) -> tuple[int, int]:
        digest = hashlib.blake2b(f"{self.seed}:{name}".encode(), digest_size=8).digest()
        return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little")
