"""Geometry of a detector from a frame of a calibrant, without start values."""
