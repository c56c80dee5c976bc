"""What is done to patterns after the integration, each step off by default.

Begin with `pattern`, the stage of the group; `rebin`, `background`, `normalize` and `peaks` are its steps, in
this order.
"""
