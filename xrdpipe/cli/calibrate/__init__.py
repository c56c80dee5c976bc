"""The calibrate command: words, what is asked for, the geometry, a series, and what they leave.

The entry point imports it when the command is run, and so does ``xrdpipe.calibrate``. Begin with `command`, then read
`task` and `solve`.
"""
