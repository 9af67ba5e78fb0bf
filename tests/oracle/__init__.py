"""What should come out? The slow, obvious learner that the package's is compared with; it shares no code with it.

learner  the meaning of a log, one record at a time
trainer  what is learned, and when
encoder  inputs and units of targets
streams  what is remembered of a stream, and time
symbols  which number a symbol has, how surprising a loss is
network  cells, losses, optimisers
readout  the readout by least squares
rivals   what predictions are measured against
reach    how far back a gradient reaches, how inputs drift
"""
