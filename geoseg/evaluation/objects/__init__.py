"""How well objects are found: average precision, precision and recall, counts, what seams cost."""
