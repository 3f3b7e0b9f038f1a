"""The known truth that travels with a simulated cohort."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from neuropyro.data.errors import CohortError, read_only

__all__ = ["Truth"]

Arrays = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True, eq=False)
class Truth(Mapping[str, NDArray[np.generic]]):
    """True values by node name, grouped by what their first axis runs over.

    A ``Truth`` is a mapping: ``truth["dps"]`` finds the node in whichever group holds it.

    Parameters
    ----------
    visit, subject, vertex
        Arrays whose first axis is the cohort's visits, subjects (in the order of ``Cohort.subjects``), vertices.
    other
        Arrays that stay as they are when the cohort is subset, such as ``"a"`` of each cluster.

    Raises
    ------
    CohortError
        Where a node stands in two groups.

    Examples
    --------
    >>> truth = Truth(visit={"dps": np.array([0.1, 0.9])}, other={"a": np.array([-1.0])})
    >>> truth["dps"].tolist(), sorted(truth)
    ([0.1, 0.9], ['a', 'dps'])
    """

    visit: Arrays = field(default_factory=dict)
    subject: Arrays = field(default_factory=dict)
    vertex: Arrays = field(default_factory=dict)
    other: Arrays = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [name for group in self.groups().values() for name in group]
        if len(names) != len(set(names)):
            raise CohortError(f"truth: a node stands in two groups: {sorted(names)}")
        for group, arrays in self.groups().items():
            object.__setattr__(self, group, {name: read_only(np.asarray(array)) for name, array in arrays.items()})

    def groups(self) -> dict[str, Arrays]:
        """Return the four groups by name."""
        return {"visit": self.visit, "subject": self.subject, "vertex": self.vertex, "other": self.other}

    def check(self, sizes: Mapping[str, int]) -> None:
        """Raise `CohortError` unless each group's first axis has its size."""
        for group, size in sizes.items():
            for name, array in self.groups()[group].items():
                if len(array) != size:
                    raise CohortError(f"truth: `{name}` has {len(array)} rows, but there are {size} ({group})")

    def subset(self, **kept: NDArray[np.int64]) -> Truth:
        """Keep rows by index, for instance ``subset(visit=rows, subject=ids)``."""
        groups = {
            group: {name: a[kept[group]] if group in kept else a for name, a in arrays.items()}
            for group, arrays in self.groups().items()
        }
        return Truth(**groups)

    def __getitem__(self, name: str) -> NDArray[np.generic]:
        for group in self.groups().values():
            if name in group:
                return group[name]
        raise KeyError(f"no truth named {name!r}; there are {', '.join(self) or 'none'}")

    def __iter__(self) -> Iterator[str]:
        return (name for group in self.groups().values() for name in group)

    def __len__(self) -> int:
        return sum(len(group) for group in self.groups().values())
