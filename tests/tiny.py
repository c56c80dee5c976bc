"""A tiny detector, for tests and for programs that they start."""

from xrdpipe.stages.simulation import Simulation

# 111 to 331 of nickel on 120 x 100 pixels of 1 mm, half a metre away; a few dead and hot pixels, a beamstop.
TINY = Simulation(
    shape=(120, 100), pixel=(1e-3, 1e-3), dist=0.5, poni=(0.504, 0.493), counts=2000.0, dead=1e-3, hot=1e-3
)
