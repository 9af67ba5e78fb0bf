"""What is a job, online or offline? The job file, and all that follows from it before anything runs.

config         what a job file holds, as validated values
config_text    its text, read with line numbers; messages for what is wrong in it
job_file       loads, shows and describes it, and warns of what is probably not meant
fingerprint    all that determines the learner; checkpoints of another one are refused
codec          records to the learner's arrays, predictions and dead letters to records
warm_start     a job that begins with a trained model
compatibility  whether a trained model fits the job
job            what all partitions of a running job share
"""
