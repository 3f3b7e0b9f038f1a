"""neuropyro: a Pyro model zoo for brain imaging.

Compose a model (:mod:`neuropyro.models`), a guide (:mod:`neuropyro.guides`) and a runner
(:mod:`neuropyro.inference`), and read the answer in ArviZ.  For research use only.
"""

from neuropyro.version import __version__

__all__ = ["__version__"]
