"""How is it computed? The numbers: NumPy, llvmlite and Numba only. Nothing here knows of Kafka, River or files.

kinds         kinds of record, and when a target becomes known
jit           how a kernel is marked, and how Numba is configured: CPU target, floating-point flags
object_file   the file that holds the kernels' machine code: name, place, format
compiled      loads that file, and has it compiled where there is none
emit          compiles the kernels into it, in a process of its own
arrays        the arrays and numbers the kernels work on
declarations  how an array is declared: its axes, who clears it, how it grows
clearing      blanks what is kept of a stream, as declared
tables        named tuples of arrays as rows of addresses
entries       how many entries of such a row a field takes
numba_tables  what the compiler makes of such a row: an address, whoever it is handed to
handle        the one function that Python calls, and a learner's table for it
counts        what a learner counts, one row for each count
layout        names and places of the weights in one flat vector
workspace     what kernels write to while a record is at work; the table of layers
activations   tanh and the logistic function over a vector
vector        vectors of lanes, for sums whose order of additions is ours
linear        the matrix products of a recurrent step
cells         Elman RNN, LSTM and GRU, forward and backward
trunk         a stack of layers over a run of steps
hidden        a tanh layer between state and readout
heads         from states to predictions, and from a window's targets to the gradient of its states
losses        losses of one step and their gradients
rls           readout by recursive least squares
spans         the parameters that a step concerns
schedules     learning rates that fall
optim         optimisers and clipping
descent       what becomes of a gradient, whatever rule it is of: dropped, summed up, a step
tbptt         learns one window
denormals     numbers that are too small count as zero while an exact cell is at work
exact         cells whose gradient is carried along with their state, and the rule that learns them
reach         how far back the gradient of a window's newest target reaches
rules         learning rules: TBPTT, or the exact gradient
scaler        running standardisation
scales        centre and width of targets that are in force
drift         the newest values of an input against those of long before
inputs        a record's columns become the network's inputs
targets       what a stream remembers of its targets, and how they are standardised
rivals        naive predictors that the model's error is held against
classes       targets that are classes, and sets of them that are open
surprise      how surprising a class or a text was among the newest ones
scoring       loss and error of a prediction whose target is known
arrivals      targets that arrive after their prediction: forecasts' values and labels
walk          goes through a block of records in order
sequences     whole sequences, whose kernels are an object file of their own
wire          the bytes in which records are fetched and sent, another one
"""
