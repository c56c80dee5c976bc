"""Data that flows through the pipeline: references, frames, patterns, cakes, records, errors.

The package imports numpy and none of the other packages. Begin with `frame`; `record` describes a processed frame.
"""
