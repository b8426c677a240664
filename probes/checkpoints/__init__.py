"""Parameters from files: safetensors, PyTorch and Hugging Face directories, without running code stored in them.

===================  ==========================================================
``loading``          :func:`load_checkpoint`: all or nothing, with a report
``report``           what was loaded, converted, missing, unexpected, mismatched
``matching``         names, shapes and kinds of numbers of both sides compared
``causes``           why they do not fit, in a sentence
``reading``          :func:`read_state_dict`: one file or one directory
``torch_files``      ``torch.load`` without pickle, and dictionaries around the state
``directories``      which files of a directory hold the weights
===================  ==========================================================
"""

from probes.checkpoints.loading import load_checkpoint
from probes.checkpoints.reading import read_state_dict
from probes.checkpoints.report import CheckpointEntry, CheckpointReport

__all__ = ["CheckpointEntry", "CheckpointReport", "load_checkpoint", "read_state_dict"]
