"""River estimators over the same learner the daemon runs: one hidden state per stream, learned event by event.

They are imported from ``streamrnn``, each when it is first asked for: River's time series alone take a second to load.
"""
