"""The version, in a module of its own.

Where Python starts in the folder that holds a clone, ``neuropyro`` is the clone's folder, a package without
``__init__``: what is not in a module is not found then.
"""

__all__ = ["__version__"]

__version__ = "0.1.0.dev0"
