"""What can be done without a daemon? Trying a job on past records, and looking into checkpoints.

evaluation  a job over past records, each record predicted before it is learned from
symbol_scoring  of symbols: in bits, beside what counting them would have said
sequence_scoring  of whole sequences: error rate, macro-F1, symbol error rate, mean absolute error
scoring     predictions kept until their target is known, and how well they did
verdict     an evaluation in one number and a sentence
baselines   the naive predictors it is measured against
data_file   records from CSV and JSON lines
inspection  what a checkpoint holds
export      a checkpoint as a model file, which an estimator loads
outlook     what becomes of what a job has learned under its settings of today
"""
