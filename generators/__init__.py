"""Image generators: networks, checkpoints, features and training."""
