"""What should come out? The slow, obvious learner that the package's is compared with; it shares no code with it.

learner  the meaning of a log, one record at a time
trainer  what is learned, and when
encoder  inputs and units of targets
streams  what is remembered of a stream, and time
symbols  which number a symbol has, how surprising a loss is
network  cells, losses, optimisers
exact    cells whose units hear only themselves, and gradients back through all that a sequence lived through
sensitivities  the same gradients by their definition, carried forwards
readout  the readout by least squares
rivals   what predictions are measured against
reach    how far back a gradient reaches, how inputs drift

Of whole sequences:

sequences          the meaning of a log of them
sequences_records  records, and what is remembered of a sequence at work
sequences_network  encoder, heads and decoder, forwards
sequences_tape     gradients of whatever was computed
sequences_symbols  from outputs to symbols, and how wrong they are
decoder            a decoder alone, its gradients by hand
"""
