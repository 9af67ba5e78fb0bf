"""How is it computed? The numbers: NumPy and Numba only; nothing here knows of Kafka, River or files of records.

kinds        kinds of record, and when a target becomes known
jit          how Numba is configured: CPU target, floating-point flags, cache
compiled     machine code always comes from the cache, never from the process that compiled it
arrays       the arrays and numbers the kernels work on
declarations  how an array is declared: its axes, who clears it, how it grows
clearing     blanks what is kept of a stream, as declared
handle       all of them behind one table of addresses
counts       what a learner counts, one row for each count
layout       names and places of the weights in one flat vector
activations  tanh and the logistic function over a vector
linear       the matrix products of a recurrent step
cells        Elman RNN, LSTM and GRU, forward and backward
heads        readouts and losses
optim        optimisers and clipping
scaler       running standardisation
targets      what a stream remembers of its targets, and in which units
rls          readout by recursive least squares
tbptt        learns one window
walk         goes through a block of records in order
"""
