"""Where tiles lie, who owns which pixel, how tiles blend: integers and numpy, no I/O."""
