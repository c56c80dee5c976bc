"""The results folder of a run: its content, its journal, and the command that repeats it.

This package imports `model`, `io`, `numerics` and `config`. Begin with `folder`.
"""
