"""Many frames: the run, its plan, its listeners, and the engines that process frames.

This package imports `pipeline`, `results`, `report` and the layers below. Begin with `run`. A source supplies frames,
an engine (`engines`) processes them, and listeners (`listeners`) handle every processed frame.
"""
