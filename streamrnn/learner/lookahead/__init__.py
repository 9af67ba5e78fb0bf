"""What is a learner that looks ahead? One of single steps, whose predictions wait for the steps behind their events.

lowering  from a specification to the numbers and arrays of its kernels
waiting   the events of each stream that wait, and where its steps stand
rows      from a block of records to the rows that the kernels read, and back
learner   LookaheadLearner: predict, score and learn, event by event
"""
