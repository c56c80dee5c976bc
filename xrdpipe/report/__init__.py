"""The report of a run or of a sweep: one HTML page that opens from disk.

Begin with `report`; the templates of the pages are in `templates/`. This package imports `results` and lower layers.
"""
