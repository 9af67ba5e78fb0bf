"""How are whole sequences computed? Kernels that predict and learn a sequence at once, in an object file of their own.

With them are those of single steps that look ahead, since these read both ways, too.

arrays           what they work on beside the arrays of steps
kinds            what is predicted of a sequence
reasons          why nothing was learned from one
layout           names and places of the weights in one flat vector
workspace        what kernels write to while a sequence is at work
trunk            a stack of layers that reads a sequence forwards, or both ways
heads            one prediction for a sequence, or one for each step
ctc              transcripts without alignment: loss and gradient
best_path        their greedy decoding
beam             and by a beam of prefixes
attention        where a decoder looks
decoder          encoder to decoder: what is learned
decoding         what is said, greedily or by a beam
edit_distance    how far a sequence of symbols is from the true one
inputs           frames become the network's inputs
scoring          what a prediction turns out to be worth
averaging        weights that predictions are made with
carrying         what goes on from one record of a stream to the next
learning         the loss of a sequence, its gradient, the optimiser's step
walk             goes through a block of sequences in order
stepwise         goes through a block of single steps that look ahead
stepwise_arrays  what these come as, and what comes out
handle           the one function that Python calls
"""
