"""Hostile and damaged input: what is valid is changed a little, and geoseg must answer in one line.

`make fuzz` tries for minutes, `tests/fuzz/test_fuzz.py` for seconds. A module for each kind of input has the
cases and what is done with one; `tests.fuzz.commands` has what must be true of every command.
"""
