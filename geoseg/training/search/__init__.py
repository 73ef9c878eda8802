"""Searches for settings of a training, chosen by val alone."""
