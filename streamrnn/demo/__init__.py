"""What does it look like at work? The departures of New York in 2013, from a log to a plot.

run        the demo from end to end
directory  the files it leaves
flights    the data set
log        departures into a log of records
rivals     what the network is measured against
screen     what is shown while it runs
plot       the error over time
"""
