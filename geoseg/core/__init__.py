"""What every room uses: errors, bands, legend, geometry, files. Plain Python and numpy."""
