"""Trainings whose network predicts for each class on its own whether a pixel has it."""
