"""Where do records come from, and where do predictions go? It knows nothing of learners.

protocol           what a broker can be asked, and the values that cross the seam
records            single records and outputs
columns            records and outputs as whole batches
embedded           a log of files that behaves like a broker
embedded_log       that log: topics and commits in a directory
partition_file     one partition of it
history            what a topic holds already, read from outside
kafka_client       a real cluster: consuming, committing, delivering
kafka_group        the consumer's life in its group: polls during a rebalance, leaving
kafka_polls        when it is polled, and when it is left alone for a moment
kafka_inner        whether the client's inner parts are those that these lean on
kafka_gone         requests about a partition that is gone: they end
kafka_assignor     who reads which partition, and over how many that was shared
kafka_sender       its producing half
kafka_hurry        how it is reached in the time that is left
kafka_produced     whole batches for it
kafka_admin        its topics
kafka_connect      how its clients are made, and what their errors mean
kafka_connections  its connections, with an eye on how they end
kafka_answers      whether a cluster answers, as all clients of a worker have met it
kafka_failures     why there is no connection, in words
kafka_rights       which right is missing, and the command that grants it
kafka_files        whether the certificates and keys that are named can be used
kafka_tokens       tokens of OAUTHBEARER, from an endpoint or a file
http_deadline      connections to such an endpoint, which end by a deadline
kafka_compression  which compressed records can be read
kafka_unpacking    those records unpacked, piece by piece
kafka_batches      the records of a batch, one by one, in bounded memory
kafka_columns      a fetched batch as columns, by a kernel
kafka_legacy       the same of batches as they were before Kafka 0.11
kafka_fetcher      these in place of what the client does
confluent_client     the same cluster by confluent-kafka: consuming, committing, delivering
confluent_group      its rebalance callbacks, and its membership
confluent_positions  where it stands, beyond what is no record
confluent_topic      whether the topic that it reads is still the same
confluent_records    its messages as columns
confluent_seeking    moving its consumer to an offset
confluent_sender     its producing half
confluent_connect    how its clients are made, and let go
confluent_calls      calls that know no timeout, ended by one
confluent_commits    a commit that is waited for, for so long
confluent_errors     what its errors mean, in the terms of both clients
confluent_answers    whether a cluster answers, from what it counts
confluent_tokens     tokens in the form that it takes
confluent_settings   how it is reached, as its properties, and what it cannot do
instance_name      the name under which a worker is known to its group, unless it is given one
kafka_settings     how it is reached, as values and client arguments
rights             the command that grants a right
security           how to authenticate with it; the one type in which a password travels
"""
