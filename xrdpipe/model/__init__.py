"""What flows through the pipeline and what is said about it: references, frames, patterns, cakes, records, errors.

It imports numpy and nothing of the other packages. Begin with `frame`; `record` is what remains of a frame.
"""
