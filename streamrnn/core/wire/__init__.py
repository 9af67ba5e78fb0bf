"""How do records lie in the bytes that brokers and clients exchange? Kernels, in an object file of their own.

They compute with bytes and integers, so there is one file, whatever precision a model has. They read and write record
batches of Kafka's format 2 (since 0.11, https://kafka.apache.org/documentation/#recordbatch), behind the batch's header
and unpacked.

varints   integers of as many bytes as they need
fetched   where the records of a fetched batch lie
built     the records of a batch that is to be sent
hashed    the hash by which a key chooses its partition
handle    the one function that Python calls
"""
