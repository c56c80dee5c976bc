"""What is drawn on the canvas of the page: the frame, rings of phases over it, and the shapes of the mask.

Begin with `picture`. Only `routes` and `session` import these modules.
"""
