"""What limits a recurrent network, and what overcomes it? ``streamrnn demo memory``: measured on this learner.

run        the demo from end to end: start reading here
networks   what is compared, and with which settings
tasks      what is learned: a cue to be recalled, and a number to be said again
gradients  how much of the gradient is left so many steps back
lags       the longest lag that is bridged, by k2 and by layers
lengths    learned from sequences of one length, and of many
explosion  recurrent weights that are too large, without clipping and with it
findings   what was measured, and each finding as a sentence
table      all numbers, for the terminal
plot       the picture

Every number comes from the run that shows it. Only the CPU time of a record is not the same in each run.
"""
