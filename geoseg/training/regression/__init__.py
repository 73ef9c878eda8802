"""Trainings whose network predicts a number for each pixel."""
