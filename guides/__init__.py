"""Guides: how a posterior is approximated; asked for by name, or any Pyro guide.

A guide is built from the model alone.  Enumerated sites are never guided: they are summed out.
"""

from neuropyro.guides.factory import GUIDES, make_guide
from neuropyro.guides.map import map_guide
from neuropyro.guides.normal import normal_guide

__all__ = ["GUIDES", "make_guide", "map_guide", "normal_guide"]
