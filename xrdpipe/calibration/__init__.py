"""Geometry of a detector from one frame of a calibrant, without start values; no command uses it yet.

The package imports numpy, scipy and pyFAI. Begin with `search`: it turns ridges of a frame into geometries, which
`refine` measures control points for.
"""
