"""Azimuthal integration: patterns, sectors, cakes, and integrations that clip outliers.

Begin with `integ`; the others build on its class.
"""
