"""Azimuthal integration: patterns, sectors, cakes, and integrations that clip outliers.

Begin with `integ`; the other stages derive from its class.
"""
