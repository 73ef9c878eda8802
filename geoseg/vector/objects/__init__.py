"""Objects of a network that detects them: what tiles report, merged, numbered and painted."""
