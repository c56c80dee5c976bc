"""``xrdpipe config``: show, search and explain keys. Begin with `command`; `explain` collects what is said of a key."""
