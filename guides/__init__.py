"""Guides: how a posterior is approximated; asked for by name, or any Pyro guide.

A guide is built from the model alone.  Enumerated sites are never guided: they are summed out.
"""

from neuropyro.guides.factory import FLAT_GUIDES, GUIDES, check_name, find_latents, make_flat_guide, make_guide
from neuropyro.guides.flat import FlatGuide
from neuropyro.guides.latents import Latents
from neuropyro.guides.map import PointGuide, hold
from neuropyro.guides.start import Start

__all__ = [
    "FLAT_GUIDES",
    "GUIDES",
    "FlatGuide",
    "Latents",
    "PointGuide",
    "Start",
    "check_name",
    "find_latents",
    "hold",
    "make_flat_guide",
    "make_guide",
]
