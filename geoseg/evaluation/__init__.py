"""How good a map is: metrics, areas with confidence intervals, samples to label."""
