"""What does it look like when it learns a text? ``streamrnn demo text``: bits per byte beside compressors, and samples.

run          the demo from end to end: start reading here
source       the text: a file, or the sources of Python's standard library
log          the text into records, their surprises out of the output topic
writing      what the model would write, now and at milestones
compressors  gzip, bz2 and xz on the same bytes
account      what came of a run
screen       what is shown while it runs, and at the end
plot         bits per byte over the bytes read

``text.yaml`` is its job, into which ``log`` writes the directory.
"""
