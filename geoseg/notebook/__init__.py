"""What a notebook or a script calls: the public functions of `geoseg`."""
