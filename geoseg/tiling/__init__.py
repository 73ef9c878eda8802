"""Where tiles lie, which block owns which pixel, how tiles blend: integers and numpy, no I/O."""
