"""Where is what was learned kept? Files that a crash leaves old or whole, and that hold no code.

tensors      named arrays as safetensors, written atomically; weights for PyTorch
manifest     what a checkpoint says about itself, and the fingerprints that must agree
snapshot     a learner's state cut into segments, on its way to a checkpoint and back
checkpoints  manifests and segments of one partition; retention
writer       writes checkpoints on a thread of its own
model_file   a trained model as one file
"""
