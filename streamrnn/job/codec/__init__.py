"""How does a record become rows of the learner's arrays, and a prediction a record?

parser        the seam for formats: bytes to a document, of which the job names the fields
json_parser   the format JSON
fields        what the fields of a document mean: keys, event ids, end marks, times, targets
records       the rules around them: sizes, tombstones, key and time, label or event; rows of a block
predictions   the output record of a prediction
dead_letters  why a record may be rejected, and the record that says so
"""
