"""Trainings: from a document and labelled scenes to a bundle (prepare, fit, measure, record)."""
