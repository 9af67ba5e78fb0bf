"""What does it look like when it learns to hear? ``streamrnn demo speech``: spoken digits, and an accent half-way.

run         the demo from end to end: start reading here
voices      who speaks, and what
sound       espeak-ng, WAV files, noise
features    sound into MFCCs
recogniser  the learner at work on strings
account     what came of a run
screen      what is shown while it runs, and at the end
plot        digit error over the strings heard
"""
