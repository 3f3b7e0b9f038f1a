"""What of a study's data a user may not expect, in sentences, before anything is fitted."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from neuropyro.data import Cohort
from neuropyro.data.cohort_checks import visit_in_words, years_followed
from neuropyro.data.missing_maps import empty_parts, missing_in_words
from neuropyro.hemisphere_levels import Unsteadiness, lasting_contrast, unsteadiness
from neuropyro.score_diagnosis import known_diagnoses

__all__ = ["few_people", "missing_hemispheres", "remarks"]

DIAGNOSES = frozenset(
    {"cn", "nc", "nl", "ctl", "hc", "control", "healthy", "normal", "smc", "mci", "emci", "lmci", "ad", "dementia"}
)
FEW_PEOPLE = 8
LONGEST = 25  # years for which people may have been followed
OUTLYING = 50  # times the distance from the median within which nine in ten lie
NEGATIVE_CODES = (-1, -2, -3, -4, -5, -7, -8, -9, -99, -999, -9999)
MOST_NAMES = 6  # of diagnoses
LASTING = 0.3  # of what people differ by at a vertex; patterns smoothed by 10 mm have .1 to .23
MUCH, BEYOND_CHANCE = 0.2, 3  # of a vertex's own unsteadiness, of which a smooth cortex without such errors has .05
ADULT, OLDEST, GENERATION = 18, 110, 10  # years: of ages that may be, and by how much people's differ
CALENDAR, FOLLOWED = (1900, 2100), 1  # years, and for how many the one followed longest is seen at least
GAP, OTHER_UNIT = 3, 8  # ratios of neighbouring values, and of medians, where units differ as mg/l and g/l do
FEWEST = 2  # values of a unit
HIGH_CODES, FAR = (88, 99, 888, 999, 8888, 9999, 99999), 3


def remarks(cohort: Cohort, standardise: str, lines: Sequence[str] = (), ageing: bool = True) -> list[str]:
    """Say what a user may not expect of the data.

    That people's names are nearly alike, or there are more years than studies last; that there is no diagnosis, none is
    a control's, or a covariate looks like one; that a biomarker never changes within a subject, as a gene does, has a
    value that looks like a code for a missing one, one far from all others, or values in two units; that visits say
    nothing of speeds, or contradict each other, or have errors of whole hemispheres, or people do; that times are ages
    or years of the calendar, while the model has no ageing.

    Parameters
    ----------
    lines
        Where each visit is in its file, ``(visits,)``; by default visits are told by subject and time.
    ageing
        Whether the model tells ageing from the progression.

    Examples
    --------
    >>> cohort = Cohort(np.ones((2, 3)), time=[70, 71], subject=["a", "a"], diagnosis=["ill", "well"])
    >>> [line.split(":")[0] for line in remarks(cohort, "controls")]
    ['diagnoses are ill, well']
    """
    told = [_people(cohort), _without_controls(cohort, standardise), _never_changing(cohort), _codes(cohort)]
    told += [_far_out(cohort, lines), _units(cohort), _visits(cohort, lines), _hemispheres(cohort) or _lasting(cohort)]
    told += [] if ageing else [_years(cohort)]
    return list(chain.from_iterable(told))


def missing_hemispheres(cohort: Cohort) -> list[str]:
    """Say which visits of a cohort of maps have no value, or none in one hemisphere; of files, their reader warns.

    Examples
    --------
    >>> from neuropyro.data.surface_space import SurfaceSpace
    >>> space = SurfaceSpace(".mgh", ("lh", "rh"), sizes=(1, 1), index=np.array([0, 1]))
    >>> cohort = Cohort([[np.nan, 2.5], [2.4, 2.5]], time=[70, 71], subject=["a", "a"], space=space)
    >>> [line.partition(":")[0] for line in missing_hemispheres(cohort)]
    ['subject a at 70 years (left hemisphere)']
    """
    if cohort.map_space is None:
        return []
    sides = cohort.map_space.sides
    found = [
        visit_in_words(cohort.subject, cohort.time, row) + (f" ({part})" if part else "")
        for row, values in enumerate(cohort.values)
        for part in empty_parts(values, sides)
    ]
    return [missing_in_words(found)] if found else []


def _people(cohort: Cohort) -> list[str]:
    """Say where names differ by case alone, and where there are more years between visits than studies last."""
    said, names = list[str](), [str(name) for name in cohort.subjects]
    first: dict[str, str] = {}
    alike = [(first[name.lower()], name) for name in names if first.setdefault(name.lower(), name) != name]
    if alike:
        more = f" (and {len(alike) - 1:,} more pairs)" if len(alike) > 1 else ""
        pair = f"{alike[0][0]} and {alike[0][1]}{more}"
        said.append(f"{pair} are taken for two people: names differ by case alone; if they are one, use one name")
    followed = years_followed(cohort.time, cohort.subject_index)
    if (longest := float(followed.max())) > LONGEST:
        who = cohort.subjects[int(followed.argmax())]
        said.append(f"subject {who} was followed for {longest:.3g} years by the time; divide it by 12 if it is months")
    return said


def few_people(cohort: Cohort) -> list[str]:
    """Say where there are few people.

    Examples
    --------
    >>> few_people(Cohort(np.ones((2, 3)), time=[70, 71], subject=["a", "b"]))
    ['2 people are few: what comes out is for the most part what the priors say']
    """
    few = f"{cohort.n_subjects} people are few: what comes out is for the most part what the priors say"
    return [few] if cohort.n_subjects < FEW_PEOPLE else []


def _without_controls(cohort: Cohort, standardise: str) -> list[str]:
    names = ", ".join(known_diagnoses(cohort)[:MOST_NAMES])
    if not names:
        return _without_diagnosis(cohort, standardise)
    if standardise != "controls" or cohort.is_control.any():
        return []
    return [
        f"diagnoses are {names}: none is a control's (CN, NC, NL, CTL, HC, control, healthy, normal, or 1), so that "
        "all subjects' first visits set the scales; name theirs by --control, if there are any"
    ]


def _without_diagnosis(cohort: Cohort, standardise: str) -> list[str]:
    """Say what that there is none leads to, and which covariate's words are diagnoses."""
    words = {name: {str(word).lower() for word in np.unique(column)} for name, column in cohort.covariates.items()}
    alike = [name for name, own in words.items() if len(own & DIAGNOSES) > 1]
    scales = "no diagnosis, so no controls: all subjects' first visits set the scales" * (standardise == "controls")
    if alike:
        like = f"{alike[0]} looks like a diagnosis; name it by --diagnosis {alike[0]}, if it is"
        return [f"{like} ({scales})" if scales else like]
    return [f"{scales}; name its column by --diagnosis, if there is one"] if scales else []


def _codes(cohort: Cohort) -> list[str]:
    """Name biomarkers with a value that looks like a code: the only negative one, or 99, 999, ... far above others."""
    said = []
    for name, column in zip(_names(cohort), cohort.values.T, strict=False):
        seen = column[~np.isnan(column)]
        if (code := _code_in(seen)) is not None:
            count = (seen == code).sum()
            are = "1 value is" if count == 1 else f"{count:,} values are"
            unlike = f"{name}: {are} {code:g}, unlike all others"
            said.append(f"{unlike}; if that stands for a missing value, give --missing={code:g}")
    return said


def _code_in(seen: NDArray[np.floating]) -> float | None:
    """Return the value that looks like a code; None where none does."""
    negative, high = seen[seen < 0], seen.max(initial=0.0)
    if 0 < negative.size < seen.size and np.unique(negative).size == 1 and negative[0] in NEGATIVE_CODES:
        return float(negative[0])
    if high in HIGH_CODES and (seen < high).any() and seen[seen < high].max() < high / FAR:
        return float(high)
    farthest = _farthest(seen)
    return float(seen[farthest]) if farthest is not None and (seen == seen[farthest]).sum() > 1 else None


def _farthest(seen: NDArray[np.floating]) -> int | None:
    """Return the place of the value that lies far beyond all others; None where none does."""
    off = np.abs(seen.astype(np.float64) - np.median(seen)) if seen.size else np.zeros(1)
    spread = np.quantile(off, 0.9)
    return int(off.argmax()) if spread > 0 and off.max() > OUTLYING * spread else None


def _far_out(cohort: Cohort, lines: Sequence[str]) -> list[str]:
    """Name biomarkers with a value that lies far beyond all others, as by a slip of the pen."""
    said = []
    for name, column in zip(_names(cohort), cohort.values.T, strict=False):
        rows = np.flatnonzero(~np.isnan(column))
        seen = column[rows]
        farthest = _farthest(seen)
        if farthest is not None and seen[farthest] != _code_in(seen):
            row, middle = int(rows[farthest]), f"{np.median(seen):g} is their median"
            where = lines[row] if lines else visit_in_words(cohort.subject, cohort.time, row)
            far = f"{name}: {seen[farthest]:g} ({where}) lies far from all others ({middle})"
            said.append(f"{far}; correct it if it is wrong, or leave it empty")
    return said


def _units(cohort: Cohort) -> list[str]:
    """Name biomarkers whose values are of two sizes with nothing between, as those of two units are."""
    said = []
    for name, column in zip(_names(cohort), cohort.values.T, strict=False):
        seen = np.sort(column[~np.isnan(column)])
        seen = seen[seen != _code_in(seen)]  # None is no value
        if seen.size <= 2 * FEWEST or seen[0] <= 0:
            continue
        steps = seen[FEWEST:-FEWEST] / seen[FEWEST - 1 : -FEWEST - 1]  # each group has that many
        at = FEWEST + int(steps.argmax())
        ratio = np.median(seen[at:]) / np.median(seen[:at])
        if steps.max() > GAP and ratio > OTHER_UNIT:
            low, high = f"{np.median(seen[:at]):.3g}", f"{np.median(seen[at:]):.3g}"
            sizes = f"{at:,} values lie about {low} and {seen.size - at:,} about {high}, with none between"
            said.append(f"{name}: {sizes}; if they are in two units, bring them to one")
    return said


def _visits(cohort: Cohort, lines: Sequence[str]) -> list[str]:
    """Say where no subject was seen twice, and where one has two visits at one time that are not alike."""
    said = []
    if np.bincount(cohort.subject_index).max() == 1:
        said.append("every subject has one visit, which says nothing of speeds: they are the prior's")
    order = np.lexsort((cohort.time, cohort.subject_index))
    same = (np.diff(cohort.subject_index[order]) == 0) & (np.diff(cohort.time[order]) == 0)
    if same.any():
        first, second = sorted(order[[same.argmax(), same.argmax() + 1]].tolist())
        visits = f"{lines[first]} and {lines[second]}" if lines else "two visits"
        more = int(same.sum()) - 1
        one = "1 more visit has" if more == 1 else f"{more} more visits have"
        others = f"; {one} the time of another of the same subject, too" if more else ""
        where = visit_in_words(cohort.subject, cohort.time, first)
        said.append(f"{visits} are both of {where}{others}; all are used as they are")
    return said


def _years(cohort: Cohort) -> list[str]:
    """Propose to tell ageing from the progression where times are ages, or dates, which hide them."""
    span = f"({cohort.time.min():.0f} to {cohort.time.max():.0f})"
    if _are_ages(cohort):
        return [f"times look like ages {span}: {_seem_to_progress('age')}"]
    if _are_dates(cohort):
        return [f"times look like years of the calendar {span}: {_seem_to_progress('the years')}"]
    return []


def _seem_to_progress(time: str) -> str:
    return f"where healthy people's values change with {time}, they seem to progress; --ageing tells the two apart"


def _are_ages(cohort: Cohort) -> bool:
    """Whether times may be ages, of people who are not all of one age."""
    entry = cohort.time[cohort.is_first_visit]
    return bool(entry.min() >= ADULT and cohort.time.max() <= OLDEST and np.ptp(entry) >= GENERATION)


def _are_dates(cohort: Cohort) -> bool:
    """Whether times may be years of the calendar, in which people were followed."""
    inside = CALENDAR[0] <= cohort.time.min() and cohort.time.max() <= CALENDAR[1]
    return bool(inside and years_followed(cohort.time, cohort.subject_index).max() >= FOLLOWED)


def _hemispheres(cohort: Cohort) -> list[str]:
    """Say where one hemisphere moves against the other by too much between a person's visits."""
    found = unsteadiness(cohort)
    if found is None or not _is_beyond(found, MUCH):
        return []
    return [
        f"one hemisphere moves against the other by {found.contrast:.2g} (sd) between a person's visits, where a "
        f"single vertex moves by {found.single:.2g}: the model has no errors of whole hemispheres; unless the disease "
        "is of one side, --level-hemispheres takes them out"
    ]


def _lasting(cohort: Cohort) -> list[str]:
    """Say where people lastingly differ in one hemisphere against the other by more than smooth patterns make."""
    found = lasting_contrast(cohort)
    if found is None or not _is_beyond(found, LASTING):
        return []
    return [
        f"one hemisphere against the other differs by {found.contrast:.2g} (sd) between people, where a single vertex "
        f"differs by {found.single:.2g}: the model has no lasting offset of a hemisphere, and clusters may be split by "
        "side; unless the disease is of one side, --level-hemispheres takes it out"
    ]


def _is_beyond(found: Unsteadiness, share: float) -> bool:
    """Whether a contrast of hemispheres is more than a share of what a vertex has, and than chance makes."""
    return found.contrast > max(share * found.single, BEYOND_CHANCE * found.chance)


def _names(cohort: Cohort) -> list[str]:
    return [] if cohort.feature_names is None else cohort.feature_names.tolist()


def _never_changing(cohort: Cohort) -> list[str]:
    """Name biomarkers that are the same at all visits of every subject who was seen more than once."""
    if cohort.feature_names is None:
        return []
    low, high = (np.full((cohort.n_subjects, cohort.n_vertices), end) for end in (np.inf, -np.inf))
    np.fmin.at(low, cohort.subject_index, cohort.values)  # what is missing is passed over
    np.fmax.at(high, cohort.subject_index, cohort.values)
    count = np.zeros_like(low)
    np.add.at(count, cohort.subject_index, ~np.isnan(cohort.values))
    constant = (count > 1).any(0) & ((low == high) | (count < 2)).all(0)
    names = ", ".join(map(str, cohort.feature_names[constant]))
    if not names:
        return []
    never, it, says = ("never changes", "it", "says") if constant.sum() == 1 else ("never change", "them", "say")
    they = "it" if constant.sum() == 1 else "they"
    return [
        f"{names}: {never} within a subject, so that {they} {says} nothing of progression; leave {it} out by "
        f"--biomarkers, and give {it} by --covariates if speed may depend on {it}"
    ]
