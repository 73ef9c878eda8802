"""The words of the house: errors, bands, legend, geometry. Plain Python and numpy."""
