"""`python -m geoseg`."""

from geoseg.cli.app import main

main()
