"""Regions that receive too little: shadows, translucent arms, gaps and dead lines, at any count rate.

`levels` says what every pixel should receive, `sums` how far pixels are from it, `search` finds regions and `border`
draws their outline. Begin with `find.RegionFinder`.
"""
