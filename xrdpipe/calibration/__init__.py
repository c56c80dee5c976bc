"""Geometry from the frame of a calibrant: rings are found, indexed and refined, without start values.

Begin with `calibrate`. `ridges` finds the points on rings, `search` the geometry that explains them, `cone` is that
geometry in five numbers, `control_points` measures rings to a fraction of a pixel, `refine` is pyFAI's refinement.
"""
