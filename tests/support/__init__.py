"""What do many tests need? Nothing here is a test.

golden     PyTorch's golden runs as specifications, weights and logs
logs       Hypothesis strategies for specifications and logs
tasks      sequences that can only be learned by remembering
learners   a learner's whole state as comparable bits
impatient  the command line, less patient with a cluster that does not answer
"""
