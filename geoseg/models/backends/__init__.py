"""Backends that run a network on batches of tiles: torch, torch.compile, OpenVINO."""
