"""Several trainings of one document: folds, of which each is tested once, and repeated seeds."""
