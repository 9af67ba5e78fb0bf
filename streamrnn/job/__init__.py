"""What is a job, online or offline? The job file, and all that follows from it before anything runs.

config       the job file as validated values
config_text  its text, read with line numbers; messages for what is wrong in it
job          what all partitions of a job share
codec        records to the learner's arrays, predictions to records
warm_start   a job that begins with a trained model
"""
