"""What is a learner of whole sequences? The same as one of single steps, but that a record is a sequence.

lowering  from a specification to the numbers and arrays of its kernels
rows      from a block of records to the rows that the kernels read, and back
learner   SequenceLearner: predict, score and learn, sequence by sequence
"""
