"""What does it look like at work? The departures of New York in 2013, from a log to a plot.

run        the demo from end to end: start reading here
directory  the files it leaves
flights    the data set
log        departures into a log of records, predictions out of it
rivals     what the network is measured against
prepare    kernels, departures, log and rivals, side by side
worker     the daemon's worker on a thread, and what can be seen of it
watching   that worker shown to somebody at a terminal
account    what came of a run
screen     what is shown while it runs
plot       the error over time
feed       departures without end, for a job to learn from: ``streamrnn feed``
text       a text learned byte by byte: ``streamrnn demo text``
memory     the limits of recurrent networks: ``streamrnn demo memory``
speech     spoken digits and a newcomer's accent: ``streamrnn demo speech``
pronounce  from spelling to sounds: ``streamrnn demo pronounce``

``flights.yaml`` is its job, into which ``log`` writes directory and broker.
"""
