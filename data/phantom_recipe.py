"""How phantoms vary: their covariates, the ranges of these, and the sizes of what is random beside them.

Covariates
----------
==============  =========  ============================================================================================
name            unit       meaning
==============  =========  ============================================================================================
position        mm         MNI coordinate of the plane: y of a coronal, z of an axial slice
dilation        1          area of the lateral and third ventricles in the slice, before ``size`` scales the brain,
                           relative to the template's typical one (:mod:`neuropyro.data.ventricles`)
atrophy         1          fraction of grey matter lost to sulcal fluid; negative is gained
contrast        1          T1 intensity of grey relative to white matter
brightness      1          T1 intensity of white matter, on the image's scale of 0 (-1) to 1 (1)
rotation        degree     pose: turn in the plane
size            1          pose: size relative to the template
bias            1          standard deviation of the control points of the logarithm of the bias field
noise           1          standard deviation of the noise, on the scale of 0 to 1
==============  =========  ============================================================================================

They are independent of one another and uniform over their ranges, dilation in its logarithm.
"""

from dataclasses import dataclass
from typing import Literal

__all__ = [
    "CENTRE",
    "COVARIATES",
    "FIELD_CONTROLS",
    "FIELD_OF_VIEW",
    "LARGEST",
    "LOGARITHMIC",
    "POSITIONS",
    "POSITIVE",
    "RELIEF_CONTROLS",
    "SPLITS",
    "PhantomRecipe",
    "Plane",
    "Split",
]

Plane = Literal["coronal", "axial"]
Split = Literal["train", "validation", "test"]

SPLITS: tuple[Split, ...] = ("train", "validation", "test")
FIELD_OF_VIEW = {"coronal": 176.0, "axial": 208.0}
CENTRE = {"coronal": (0.0, 0.0, 5.0), "axial": (0.0, -17.0, 0.0)}
POSITIONS = {"coronal": (-39.0, 6.0), "axial": (4.0, 24.0)}
"""Of slices: distance between the centres of the outermost pixels; the middle; the usual range of positions.  mm."""

FIELD_CONTROLS = (4, 8, 16)
RELIEF_CONTROLS = (4, 8)
"""Control points over the slice, of each scale of the velocity field and of the relief."""


@dataclass(frozen=True)
class PhantomRecipe:
    """How phantoms vary: ranges of the covariates, sizes of what is random beside them.

    Attributes
    ----------
    position
        Range, mm MNI; None takes that of the plane, :data:`POSITIONS`.
    dilation, atrophy, contrast, brightness, rotation, size, bias, noise
        Ranges, in the units of the module's table.
    warp
        Standard deviation of the velocity field at 4, 8 and 16 control points over the slice, mm.
    relief
        Standard deviation of the displacement through the plane at 4 and 8 control points, mm.
    tilt, shift, aspect
        Standard deviation of the two tilts of the plane, degrees; of the shift in either axis, mm; of the logarithm of
        the ratio of height to width.
    patchiness
        Standard deviation of the local log odds of sulcal fluid, about 30 mm wide.

    Ranges are checked where they are used, by :class:`~neuropyro.data.phantoms.BrainPhantoms`.

    Examples
    --------
    >>> from neuropyro.data.phantom_draws import covariates_of
    >>> recipe = PhantomRecipe(position=(-20.0, 0.0), noise=(0.0, 0.0))  # none without the thalamus, none with noise
    >>> medians = covariates_of(torch.zeros(1, 9), vars(recipe))
    >>> [round(float(medians[name]), 3) for name in ("position", "dilation", "noise")]
    [-10.0, 1.342, 0.0]
    """

    position: tuple[float, float] | None = None
    dilation: tuple[float, float] = (0.45, 4.0)
    atrophy: tuple[float, float] = (-0.08, 0.25)
    contrast: tuple[float, float] = (0.62, 0.82)
    brightness: tuple[float, float] = (0.75, 0.95)
    rotation: tuple[float, float] = (-7.0, 7.0)
    size: tuple[float, float] = (0.93, 1.05)
    bias: tuple[float, float] = (0.0, 0.08)
    noise: tuple[float, float] = (0.0, 0.02)
    warp: tuple[float, float, float] = (5.0, 2.5, 1.5)
    relief: tuple[float, float] = (2.5, 2.0)
    tilt: float = 2.5
    shift: float = 1.5
    aspect: float = 0.03
    patchiness: float = 0.5


COVARIATES = ("position", "dilation", "atrophy", "contrast", "brightness", "rotation", "size", "bias", "noise")
LOGARITHMIC = ("dilation",)
POSITIVE = ("dilation", "brightness", "contrast", "size")
LARGEST = {"dilation": 6.0}  # nearly every slice of the template bears that, and hardly any bears much more
"""Names: all, in the order of their normals; those uniform in their logarithm; those that are above 0."""
