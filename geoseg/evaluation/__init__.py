"""Evaluation of class maps: scores against a reference, and areas from a labelled sample."""
