"""The calibrate command: words, what is asked for, one frame, several frames, a series, and what they leave.

Imported by the entry point only, when the command is run. Begin with `command`, then read `task`.
"""
