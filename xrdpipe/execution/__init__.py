"""Many frames: the run, its plan, its listeners, and the engines that process frames.

It imports `pipeline`, `results`, `report` and what is below. Begin with `run`; a source decides what comes, an engine
(`engines`) where and when, and listeners (`listeners`) do something with every frame that comes back.
"""
