"""Where do records come from, and where do predictions go? It knows nothing of learners.

protocol        what a broker can be asked, and the values that cross the seam
embedded        a log of files that behaves like a broker
partition_file  one partition of it
kafka_client    a real cluster; the only file that imports a Kafka client
kafka_settings  how a cluster is reached, as values and client arguments
security        how to authenticate with it; the one type in which a password travels
"""
