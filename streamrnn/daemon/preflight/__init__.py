"""What would keep a valid job from running well where it is meant to run? Looked at before, and nothing is changed.

facts     what there is, asked once: topics, group, offsets, checkpoints, a sample of records
findings  what a check says of it: a problem, a warning, or that it was looked at and is fine
checks    all checks in order: start reading here
machine   directories, space, port and kernels of this machine
topics    may topics be used, do they fit together, and will they take what is written
replay    can a restart find its way back: retention, compaction, offsets and checkpoints
group     who else is in the group, and may this user be
records   what the sampled records are to the job
"""
