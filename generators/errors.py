"""The one error of reading and writing checkpoints."""

__all__ = ["CheckpointError"]


class CheckpointError(ValueError):
    """A checkpoint is damaged, of another kind, refused, or not what its card says; the message names the file."""
