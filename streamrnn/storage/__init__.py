"""Where is what was learned kept? Files that a crash leaves old or whole, and that hold no code.

blobs         the seam below checkpoints: list, get, put and delete bytes by name; in a directory
tensors       named arrays as safetensors; weights for PyTorch
names         what the blobs of a job's checkpoints are called
fingerprints  which configuration and which build wrote a checkpoint, and what differs here
manifest      what a checkpoint says about itself
segments      the rows of some slots, with their keys, as named arrays
snapshot      a learner's state cut into segments, on its way to a checkpoint and back
arriving      segments that come one by one from a learner that goes on
putting       a snapshot's arrays on their way out
retention     which checkpoints and segments may go
checkpoints   manifests and segments of one partition, written and read
listing       finds checkpoints where somebody says they are
writer        writes checkpoints on a thread of its own
model_file    a trained model as one file
"""
