"""A small study of two hemispheres, and its table, which tests write in every format."""

import csv
from pathlib import Path

import numpy as np
import pytest

from neuropyro.data import Cohort, Mesh

SUBJECTS = ("s1", "s1", "s2", "s2", "s3")
SESSIONS = ("m00", "m12", "m00", "m24", "m00")
SIZES = {"lh": 12, "rh": 15}
WALL = {"lh": (0, 3), "rh": (14,)}  # vertices without cortex: 0 in every map


def strip(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates and triangles of a strip of n vertices."""
    points = np.stack([np.arange(n) // 2, np.arange(n) % 2, np.zeros(n)], 1).astype(np.float32)
    return points, np.stack([np.arange(n - 2), np.arange(1, n - 1), np.arange(2, n)], 1)


def whole_maps() -> dict[str, np.ndarray]:
    """Maps of each hemisphere, (visits, vertices) float32, 0 on the wall."""
    rng = np.random.default_rng(0)
    maps = {h: rng.normal(2.5, 0.3, (len(SUBJECTS), n)).astype(np.float32) for h, n in SIZES.items()}
    for h, wall in WALL.items():
        maps[h][:, list(wall)] = 0
    maps["lh"][1, 5] = np.nan  # one missing value
    return maps


def columns() -> dict[str, list]:
    return {
        "subject": list(SUBJECTS),
        "session": list(SESSIONS),
        "age": [70.5, 71.5, 65.0, 67.0, 80.25],
        "diagnosis": ["CN", "CN", "AD", "AD", "CN"],
        "sex": ["F", "F", "M", "M", "F"],
        "icv": [1500.0, 1501.5, 1600.0, "n/a", 1450.0],
    }


def write_csv(path: Path, table: dict[str, list], delimiter: str = ",") -> Path:
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream, delimiter=delimiter)
        writer.writerow(table)
        writer.writerows(zip(*table.values(), strict=True))
    return path


def expected(space=None, mesh: Mesh | None = None) -> Cohort:
    """The cohort that the files hold, from the arrays themselves."""
    maps = whole_maps()
    kept = {h: np.setdiff1d(np.arange(n), WALL[h]) for h, n in SIZES.items()}
    table = columns()
    return Cohort(
        values=np.concatenate([maps[h][:, kept[h]] for h in SIZES], 1),
        time=table["age"],
        subject=table["subject"],
        diagnosis=table["diagnosis"],
        covariates={"sex": np.array(table["sex"]), "icv": np.array([1500.0, 1501.5, 1600.0, np.nan, 1450.0])},
        mesh=mesh,
        space=space,
    )


def strip_mesh() -> Mesh:
    """Mesh of both hemispheres without the wall."""
    n = SIZES["lh"]
    parts = {h: strip(size) for h, size in SIZES.items()}
    whole = Mesh(
        sum(SIZES.values()),
        faces=np.concatenate([parts["lh"][1], parts["rh"][1] + n]),
        coordinates=np.concatenate([parts["lh"][0], parts["rh"][0]]),
    )
    wall = [*WALL["lh"], *(n + v for v in WALL["rh"])]
    return whole.subset(np.setdiff1d(np.arange(whole.n_vertices), wall))


class Study:
    """What the tests of formats share."""

    subjects, sessions, sizes, wall = SUBJECTS, SESSIONS, SIZES, WALL
    strip = staticmethod(strip)
    maps = staticmethod(whole_maps)
    columns = staticmethod(columns)
    write_csv = staticmethod(write_csv)
    expected = staticmethod(expected)
    mesh = staticmethod(strip_mesh)

    @staticmethod
    def table(folder: Path, /, **changes: list) -> Path:
        """Write the study's table, with some columns changed, or dropped where None."""
        table = {name: cells for name, cells in (columns() | changes).items() if cells is not None}
        return write_csv(folder / "visits.csv", table)


@pytest.fixture(scope="session")
def study() -> type[Study]:
    return Study
