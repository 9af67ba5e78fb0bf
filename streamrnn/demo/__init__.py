"""The demonstration: a year of real departures replayed through the very loop the daemon runs.

``flights`` turns the data set into records in the order in which they happened, ``plot`` draws what came of it.
Everything here needs the extra ``streamrnn[demo]``; nothing outside imports it except the command line.
"""
