"""What do others see of the worker? Metrics, probes, and a page of its own, over HTTP, on a thread of their own.

http         the endpoint of all three: who may connect, and for how long
request      what a client asked for, or why that is no request
pages        what is answered
exposition   the metrics as text, once a second
recent       what a function returned lately, however many ask
shell        the daemon's own page before a browser has filled it
status       what it shows, as one document
words        how the worker is, in a sentence
history      throughput and errors of the past hour
samples      metrics read back from their registry
certificate  what https is served with, read again when it is renewed
"""
