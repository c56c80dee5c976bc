"""``xrdpipe config``: show, search and explain keys.

May import from `xrdpipe.config` and below. Begin with `command`; `explain` collects what is said of a key.
"""
