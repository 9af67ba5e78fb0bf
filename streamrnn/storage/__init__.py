"""Where is what was learned kept? Files that a crash leaves old or whole, and that hold no code.

atomic_file   writes a file so that a crash leaves the old one or the new one
tensors       named arrays as safetensors; weights for PyTorch
fingerprints  which configuration and which build wrote a checkpoint, and what differs here
manifest      what a checkpoint says about itself
segments      the rows of some slots, with their keys, as named arrays
snapshot      a learner's state cut into segments, on its way to a checkpoint and back
checkpoints   manifests and segments of one partition; retention
writer        writes checkpoints on a thread of its own
model_file    a trained model as one file
"""
