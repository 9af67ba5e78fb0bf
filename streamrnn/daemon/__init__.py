"""What runs? The loop around a broker and its partitions' learners.

run           a worker put together, and run until a signal or an error
opening       a configuration's log: broker, writer, topics
loop          poll, process, send, commit, checkpoint: start reading here
pace          how many records a poll may bring, so that a turn of the loop stays short
partition     one partition's learner with its position
saving        when a partition is checkpointed, and how that is not felt
durations     how long batches, rebalances and restores took
lateness      how late a partition is, in event time
jumps         what is told of stream time, where it jumps
behind        how far a partition is behind, asked of the broker
counted       what a batch comes to, as metrics
worth         what predictions turned out to be worth, as metrics
watch         what is probably not meant: fields that never come, a job that learns nothing
learning      does it learn: metrics out of a learner's arrays
vocabularies  how many symbols open sets hold, and how many came beyond
drift_alarms  whether the error has risen, by River's ADWIN
mark          what a committed offset says of the learner that got there
recovery      from a newly assigned partition to a learner at the committed offset
restored      a learner from a checkpoint, of which nothing is believed unchecked
background    one thread beside the loop, which reads checkpoints
outgoing      what is sent for a batch: its predictions, then its dead letters
uncommitted   a partition without a committed offset: new, or its offset lost
changeover    going on under other settings than a checkpoint's
delivery      how a batch is committed
quarantine    records at which workers are lost
placement     which partition of an output topic a record goes to
refused       what becomes of an output that its topic does not take
stopping      from a signal to the end of the process, in time
collector     Python's garbage collector in a process that lives long
metric_table  every metric, in one table
metrics       the metrics at work
logs          where the log goes, and how it looks
introduction  its first lines
outage        what is told of a broker that is away
health        liveness and readiness
questions     what the endpoint asks of the loop
newest        the newest prediction of every stream
traces        what is predicted of a few streams beside what came
endpoint      the worker as others see it over HTTP: metrics, probes, a page of its own
preflight     what would keep a job from running well, looked at before it runs
"""
