"""Figures: of every frame (`plot`), for a paper (`paper`), and the small ones of the report (`preview`).

Only these modules and the report import matplotlib. Begin with `plot`.
"""
