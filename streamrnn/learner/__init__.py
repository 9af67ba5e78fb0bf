"""What is learned, and from what? One partition's model, statistics and streams.

spec         what is learned and how, as validated values
spec_fields  its sections and fields, and what is in force where they are left open
target_spec  the part of it about targets
model_spec   the part of it about the network
sequence_spec  what a record is where it is a whole sequence
symbols      which symbols there are, and how a text is made of them
texts        a text as its units
drawing      what comes next, drawn from probabilities
consistency  which of its settings go together, and why the others do not
sound        the bounds within which its numbers make sense together
paths        how a field of a record is named
vocabulary   which number a symbol has, and which it is given when it comes first
values       what a value of a record is taken for: a number, a text, nothing
features     fields of a record to columns of numbers
feature_columns  the same of many records at once, column by column
hashing      which bucket a value is hashed into, under a key
block        records in log order as arrays
gauges       how it learns: numbers for whoever looks
lessons      how it learns, in words
foundation   what every learner is, whatever one of its records is
learner      Learner: predict, score and learn, record by record
sequences    SequenceLearner: the same of whole sequences
lookahead    LookaheadLearner: of single steps, each with those behind it
making       the learner that a specification asks for
rows         from a block of records to the kernel's rows
calls        takes rows through the kernel
running      records through the kernel, and what came out gathered for each of them
predictions  what it says of a block of records, and what it could score
skill        how much better than naive rivals it is
state        LearnerState: all that a learner knows, as one value; how far it has come
streams      which stream has which slot of the arrays, and who has to leave
placing      the part of it that places many records at once
copying      a copy of what is kept of streams, made bit by bit while the learner goes on
one_stream   what is kept of one stream, as plain data
room         how many streams there is room for, and who leaves for a new one
clock        stream time, safe against absurd timestamps
axes         what the axes of its arrays mean, how long they are, how they grow
validity     what the arrays of a state may hold
relations    how they belong together
lowering     from a specification to the kernels' numbers and arrays
changes      what becomes of what was learned when a setting changes: the table of settings
verdicts     what is said of such a change, and the rules that say it
growth       what was learned, moved into a larger network
next_symbol  texts and next events, which go on with what was learned of each other
rings        what streams remember, laid out anew for other windows
"""
