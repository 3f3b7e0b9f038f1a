"""The one error of reading and writing checkpoints."""

__all__ = ["CheckpointError"]


class CheckpointError(ValueError):
    """A checkpoint is damaged, of another kind, refused, or not what its card says; the message names the file.

    Examples
    --------
    >>> from neuropyro.generators import CheckpointError, load_generator
    >>> try:
    ...     load_generator("brains65")
    ... except CheckpointError as error:
    ...     print(error)
    brains65: no such generator; bundled generators: brains64
    """
