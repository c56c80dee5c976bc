"""Sources of frames that other programs send while a run goes on.

Imports `io`, `model` and the other stages. Begin reading with `source_stream`.
"""
