"""What job fits these records? A sample of a topic or a file becomes a commented job file.

sample        the records it is made from, as documents
foreign       what records look like that are no JSON
fields        what a field holds over all of them
times         how times are written
streams       what names a stream
event_time    where a record's time comes from, and what it would betray
target        what is predicted
written       numbers that people wrote for people
curves        functions that are no straight lines
neighbours    targets of other records of a stream
copies        which fields give the target away, or repeat another
encoders      how a field enters the network, or why it does not
sizes         how large the network and the room for streams are
draft         all of these decisions: start reading here
text          a draft as the text of a job file
yaml_writing  values and comments as lines of YAML
"""
