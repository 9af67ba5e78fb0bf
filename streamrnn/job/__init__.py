"""What is a job, online or offline? The job file, and all that follows from it before anything runs.

config           what a job file holds, as validated values
input_config     its section on what is read: the topic, its records, texts
sequence_config  whole sequences: where their frames stand, what their answers are made of
lookahead_config  whether a job of single steps may look ahead, and what it cannot have then
kafka_config     its section on the cluster
http_config      its section on the endpoint for metrics and probes
log_config       its section on the log
section          what its sections have in common
reference        the page that has every field, printed from the types
job_file         loads, shows and describes it, and warns of what is probably not meant
yaml_text        its text as plain data, with the line of everything
refusal          what is wrong in these data, as a message to act on
field_types      which types may stand where in it
fingerprint      all that determines the learner
changes          what becomes of a learned job when its settings change
codec            records to the learner's arrays, predictions and dead letters to records
opening          opens the place of its checkpoints
sample           what some records are to a job: how many can be used, which fields they have
warm_start       a job that begins with a trained model
trained          a model file, or a checkpoint, that a job can begin with
compatibility    whether a trained model fits the job
job              what all partitions of a running job share
"""
