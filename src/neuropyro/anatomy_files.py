"""A simulated study on disk: a folder as BIDS has it, and shards that are cohorts, by one process or several.

A subject's noise is a function of the seed and of the subject's number (:mod:`neuropyro.data.counter_random`), and a
shard holds the same subjects whoever writes it: so any number of processes writes the same files, to the last byte,
and none has to hear of another.

::

    dataset_description.json
    participants.tsv                          a row a subject: what is known once
    visits.tsv                                a row a visit, with the file of its map: `Cohort.open` reads it
    truth.tsv                                 a row a visit: every node, unseen ones included
    participants.json, sessions.json, ...     what the tables' columns are, and their units
    sub-000001/sub-000001_sessions.tsv        a row a visit
    sub-000001/ses-01/anat/..._T1w.nii.gz     the scan, and the same as .png
    sub-000001/ses-01/anat/..._hemi-L_thickness.shape.gii
    shards/shard-00000.npz                    some subjects as a `Cohort`, with maps, scans and truth
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm.auto import tqdm

from neuropyro.anatomy_dictionary import write_dictionary
from neuropyro.data import Cohort
from neuropyro.data.phantom_recipe import CENTRE, FIELD_OF_VIEW
from neuropyro.data.surface_maps import write_surface_map
from neuropyro.data.surface_space import TEMPLATE_VERTICES
from neuropyro.models import AnatomySimulator
from neuropyro.models.anatomy_program import Interventions
from neuropyro.tables import write_tsv

__all__ = ["Study", "write_slice", "write_study"]

SUBJECT = ("sex", "education", "apoe4", "prs", "site", "treatment", "treatment_start")
HEMISPHERES = ("L", "R")


@dataclass(frozen=True)
class Study:
    """What is simulated.

    Parameters
    ----------
    subjects, visits, interval, seed, do, maps, images
        See :meth:`~neuropyro.models.AnatomySimulator.simulate`.
    shard
        Subjects of a shard.
    files
        Whether every visit has files of its own beside the shards.

    Raises
    ------
    ValueError
        Where there is no subject, in all or in a shard.

    Examples
    --------
    >>> study, simulator = Study(5, visits=2, maps=False, images=False, shard=2), AnatomySimulator()
    >>> [study.cohort(simulator, shard).n_subjects for shard in range(study.shards)]
    [2, 2, 1]
    """

    subjects: int
    visits: int = 4
    interval: float = 1.0
    seed: int = 0
    do: Interventions = field(default_factory=dict)
    maps: bool = True
    images: bool = True
    shard: int = 100
    files: bool = True

    def __post_init__(self) -> None:
        for name in ("subjects", "visits", "shard"):
            if getattr(self, name) < 1:
                raise ValueError(f"study: {name} ({getattr(self, name)}) must be 1 or more")

    @property
    def shards(self) -> int:
        """How many."""
        return -(-self.subjects // self.shard)

    def cohort(self, simulator: AnatomySimulator, shard: int | None = None) -> Cohort:
        """Simulate one shard, or, without maps and images, everyone."""
        settings: dict[str, Any] = {"interval": self.interval, "seed": self.seed, "do": self.do}
        if shard is None:
            return simulator.simulate(self.subjects, self.visits, maps=False, images=False, **settings)
        first = shard * self.shard
        n = min(self.shard, self.subjects - first)
        return simulator.simulate(n, self.visits, maps=self.maps, images=self.images, first=first, **settings)


def write_study(
    simulator: AnatomySimulator,
    study: Study,
    out: Path,
    rank: int | None = None,
    processes: int | None = None,
    progress: bool = True,
) -> None:
    """Write this process's share of a study: every so manyth shard, and the tables if it is the first process.

    Parameters
    ----------
    rank, processes
        Which process this is, and of how many; by default what torchrun says, else the only one.
    progress
        Whether the first process shows a bar.

    Examples
    --------
    >>> import tempfile
    >>> study, simulator = Study(3, visits=2, maps=False, images=False, shard=2), AnatomySimulator()
    >>> alone, shared = Path(tempfile.mkdtemp()), Path(tempfile.mkdtemp())
    >>> write_study(simulator, study, alone, progress=False)
    >>> for rank in (1, 0):
    ...     write_study(simulator, study, shared, rank, processes=2, progress=False)
    >>> files = [path.relative_to(alone) for path in alone.rglob("*") if path.is_file()]
    >>> all((alone / file).read_bytes() == (shared / file).read_bytes() for file in files)  # whoever writes them
    True
    """
    rank = int(os.environ.get("RANK", "0")) if rank is None else rank
    processes = int(os.environ.get("WORLD_SIZE", "1")) if processes is None else processes
    if rank == 0:
        _write_tsvs(simulator, study, out)
    share = range(rank, study.shards, processes)
    for shard in tqdm(share, unit="shard", desc="simulate", disable=not progress or rank > 0):
        cohort = study.cohort(simulator, shard)
        (out / "shards").mkdir(parents=True, exist_ok=True)
        cohort.save(out / "shards" / f"shard-{shard:05d}.npz")
        if study.files:
            for row, place in enumerate(_places(cohort)):
                _write_visit(cohort, row, out / place)


def _sessions(cohort: Cohort) -> NDArray[np.str_]:
    """Name of each visit's session, such as ses-01, in order of time."""
    order = np.lexsort((cohort.time, cohort.subject_index))
    who = cohort.subject_index[order]
    counts = np.bincount(who)
    number = np.empty(len(who), np.int64)
    number[order] = np.arange(len(who)) - np.repeat(np.cumsum(counts) - counts, counts) + 1
    return np.char.add("ses-", np.char.zfill(number.astype(np.str_), 2))


def _places(cohort: Cohort) -> Iterator[str]:
    """Where each visit's files lie, from the study's folder on, and how their names begin."""
    for subject, session in zip(cohort.subject, _sessions(cohort), strict=True):
        yield f"{subject}/{session}/anat/{subject}_{session}"


def _write_visit(cohort: Cohort, row: int, stem: Path) -> None:
    """Write a visit's scan and map; ``stem`` is the beginning of their paths."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    if cohort.images is not None:
        write_slice(cohort.images[row, 0], stem)
    mesh = cohort.mesh
    if mesh is None or mesh.template not in TEMPLATE_VERTICES or mesh.template_index is None:
        return
    n = TEMPLATE_VERTICES[mesh.template]
    whole = np.zeros(2 * n, np.float32)
    whole[mesh.template_index] = cohort.values[row]
    for hemisphere, part in zip(HEMISPHERES, np.split(whole, 2), strict=True):
        path = stem.with_name(f"{stem.name}_hemi-{hemisphere}_thickness.shape.gii")
        write_surface_map(path, part[None], ["thickness"], hemisphere)


def write_slice(image: NDArray[np.float32], stem: Path) -> None:
    """Write a coronal slice (side, side) in -1..1 as a picture of 8 bits and as a volume one voxel thick, in mm.

    ``stem`` is the beginning of the files' paths; row 0 is superior, column 0 the subject's left.  Places across and up
    are MNI's; how far in front the slice lies is not known, and 0.

    Examples
    --------
    >>> import tempfile
    >>> image = np.linspace(-1, 1, 9, dtype=np.float32).reshape(3, 3)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_slice(image, Path(folder) / "sub-01")
    ...     volume = nibabel.load(f"{folder}/sub-01_T1w.nii.gz")
    ...     values, sides = volume.get_fdata(), volume.header.get_zooms()
    ...     grey = np.asarray(Image.open(f"{folder}/sub-01_T1w.png"))
    >>> grey[0].tolist(), values[:, 0, -1].tolist()  # superior: row 0 of the picture, the last of the volume
    ([0, 32, 64], [-1.0, -0.75, -0.5])
    >>> [float(side) for side in sides]  # 176 mm between the outermost pixels' centres
    [88.0, 88.0, 88.0]
    """
    grey = np.uint8(np.clip((image + 1) * 127.5, 0, 255).round())
    Image.fromarray(grey).save(stem.with_name(f"{stem.name}_T1w.png"))
    half, (x, _, z) = FIELD_OF_VIEW["coronal"] / 2, CENTRE["coronal"]
    pixel = 2 * half / (image.shape[1] - 1)
    affine = np.diag([pixel, pixel, pixel, 1.0])
    affine[[0, 2], 3] = x - half, z - half
    volume = nibabel.Nifti1Image(np.flipud(image).T[:, None, :].astype(np.float32), affine)
    volume.header.set_xyzt_units("mm")
    nibabel.save(volume, stem.with_name(f"{stem.name}_T1w.nii.gz"))


def _write_tsvs(simulator: AnatomySimulator, study: Study, out: Path) -> None:
    """Write the tables of all subjects; their numbers take seconds, so that no process waits for another's."""
    cohort = study.cohort(simulator)
    out.mkdir(parents=True, exist_ok=True)
    description: dict[str, Any] = {"Name": "Simulated brain anatomy", "BIDSVersion": "1.8.0", "DatasetType": "raw"}
    description |= {"GeneratedBy": [{"Name": "neuropyro", "Description": f"seed {study.seed}"}]}
    (out / "dataset_description.json").write_text(json.dumps(description, indent=2) + "\n")
    (out / ".bidsignore").write_text("shards/\nvisits.*\ntruth.*\n")
    assert cohort.feature_names is not None
    measures = {name: cohort.values[:, k] for k, name in enumerate(cohort.feature_names.tolist())}
    visit = {"participant_id": cohort.subject, "session_id": _sessions(cohort), "age": cohort.time}
    visit |= {"diagnosis": cohort.diagnosis} if cohort.diagnosis is not None else {}
    own = {name: cohort.covariates[name] for name in SUBJECT if name in cohort.covariates}
    seen = {name: x for name, x in cohort.covariates.items() if name not in own}
    _write_described(out / "visits.tsv", visit | own | seen | measures | _files(study, cohort))
    nodes = {name: x if len(x) == cohort.n_visits else x[cohort.subject_index] for name, x in cohort.truth.items()}
    truth = {"participant_id": cohort.subject, "session_id": visit["session_id"]} | nodes
    _write_described(out / "truth.tsv", truth, truth=True)
    first = np.flatnonzero(cohort.is_first_visit)
    first = first[np.argsort(cohort.subject_index[first])]
    people = {"participant_id": cohort.subjects} | {k: x[first] for k, x in own.items()}
    _write_described(out / "participants.tsv", people)
    if study.files:
        by_session = {name: x for name, x in visit.items() if name != "participant_id"} | seen | measures
        write_dictionary(out / "sessions.json", by_session)
        order = np.lexsort((cohort.time, cohort.subject_index))
        starts = np.searchsorted(cohort.subject_index[order], np.arange(cohort.n_subjects + 1))
        for i, subject in enumerate(cohort.subjects):
            rows = order[starts[i] : starts[i + 1]]
            folder = out / str(subject)
            folder.mkdir(exist_ok=True)
            write_tsv(folder / f"{subject}_sessions.tsv", {name: x[rows] for name, x in by_session.items()})


def _write_described(path: Path, columns: dict[str, NDArray[Any]], truth: bool = False) -> None:
    write_tsv(path, columns)
    write_dictionary(path.with_suffix(".json"), columns, truth)


def _files(study: Study, cohort: Cohort) -> dict[str, NDArray[Any]]:
    """Column ``file`` of the maps, with the hemisphere left open; none where there are no maps."""
    if not (study.maps and study.files):
        return {}
    return {"file": np.array([f"{place}_hemi-{{hemisphere}}_thickness.shape.gii" for place in _places(cohort)])}
