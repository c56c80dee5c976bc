"""Figures of every frame (`plot`), for a paper (`paper`), and small ones for the report (`preview`).

Only these modules import matplotlib. Begin with `plot`.
"""
