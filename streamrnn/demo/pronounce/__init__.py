"""What does it look like when it learns to pronounce? ``streamrnn demo pronounce``: from spelling to sounds.

run         the demo from end to end: start reading here
words       the words: CMU's dictionary, in an order of its own
pronouncer  the learner, to whom a word is a sequence of letters and another one of sounds
account     what came of a run: error rates of sounds and words
screen      what is shown while it runs, and at the end
plot        error rates over the words, and where it looked
"""
