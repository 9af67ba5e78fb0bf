"""How does a record become rows of the learner's arrays, and a prediction a record?

parser        the seam for formats: bytes to a document, of which the job names the fields
json_parser   the format JSON, and what producers write instead of it
fields        what the fields of a document mean: keys, event ids, end marks, times, targets
symbols       texts as their units, and classes of open sets
frames        the frames of a whole sequence as rows of an array
answers       what a sequence turns out to be: labels, a transcript, another sequence
sequences     both, of the records of a block
where         which records count, and which are passed over
presence      how often each field of the job had a value
records       the rules around them: sizes, tombstones, key and time, label or event; rows of a block
typed         the usual records of a batch at once, by a struct that knows the types of fields
names         which fields records have, and which of them may have been meant
predictions   the output record of a prediction
told          where the events of predictions are that were made after a look ahead
sequence_outputs  what it says of a whole sequence: labels, symbols, a text, numbers
classes       the part of it about classes: the most probable ones, and how surprising it was what came
dead_letters  why a record may be rejected, and the record that says so
"""
