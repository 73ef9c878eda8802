"""A finished run as a map on this machine: tiles of its files, handed to one browser."""
