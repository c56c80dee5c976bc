"""Files of frames and patterns that arrive while a run goes on.

Imports `model` and the other modules of `io`. Begin reading with `stream_message`, then `stream_frame`; `nexus` is
the file of the patterns.
"""
