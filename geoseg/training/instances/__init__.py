"""Trainings that learn to find objects: what differs from those that learn classes of pixels."""
