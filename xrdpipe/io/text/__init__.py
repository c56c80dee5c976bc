"""Tables of numbers as text, fast.

This package imports `model` and `numerics`. Begin with `table`, whose columns `decimals` writes.
"""
