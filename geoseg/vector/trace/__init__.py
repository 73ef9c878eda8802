"""From a class map, block by block, to boundaries, rings and polygons."""
