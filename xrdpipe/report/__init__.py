"""The report of a run or a sweep: one page that opens from disk.

It imports `results` and what is below. Begin with `report`; the pages themselves are in `templates/`.
"""
