"""The folder of a run: what it holds, its journal, and the command that repeats it.

It imports `model`, `io` and `config`. Begin with `folder`.
"""
