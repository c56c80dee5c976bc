"""``xrdpipe look``: a page on this computer that shows a frame, its mask and its pattern while keys are changed.

Begin with `view` (what the page asks for) and `session` (from a view to its numbers), then read `routes` and `server`.
Only `routes` and `server` know Starlette and uvicorn. This package imports everything below `cli`; only `cli.look`
imports it.
"""
