"""Train networks: chips from labelled scenes, losses, the training loop, checkpoints."""
