"""How is it used from Python? River's estimators over the learner.

base        what all of them share: the network's parameters, the learner, saving
events      what those share whose events have features
lock        one call at a time, from whichever thread
parameters  checking them one by one
settings    setting one of an estimator that has learned
columns     dicts of features to columns that may become more
absence     what it means that an event lacks a feature
seeing      events that may be seen before they are learned: how that is said, or found out
delayed     labels that come later than their events
awaited     which events wait for labels
order       whose label comes next, where an event's values do not tell
watch       finds out whether labels come late, where nobody said so
regressor   one number, or several
classifier  classes that may appear at any time
forecaster  horizons, covariates, seasons, intervals
anomaly     how badly an event was forecast
language_model  what comes next in a text
sequences   what those share of which a call is a whole sequence
frames      the frames of a sequence as columns
given       sequences that were read, as a block
sequence_label  one class or number for a sequence
tagger      a label for each of its frames
transcriber  symbols for it: a transcript, or another sequence
edits       how far one sequence of symbols is from another
stream_key  whether the streams that events name can be meant
caller     the line that a warning points at
event_key  whether the events that labels name can be meant
season      the period of a series
intervals   bounds that hold as often as they claim
"""
