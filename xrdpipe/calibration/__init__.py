"""Calibration: the geometry of a detector from one frame of a calibrant, without start values.

The package imports `model`, numpy, scipy and pyFAI; it reads no file and knows no configuration. Begin with
`calibrate`, then read `ridges`, `search`, `control_points` and `refine`, in the order in which it uses them.
"""
