"""Hooks on a training loop: record curvature and noise while a model trains, without changing the training.

==================  =====================================================================
``recorder``        :class:`Recorder`, for a plain loop or attached to an optimizer
``schedule``        :class:`EveryN`, :class:`LogSpaced`: when to measure
``sinks``           TensorBoard, Weights & Biases, MLflow
``lightning``       ``RecorderCallback`` for Lightning's ``Trainer``
``transformers``    ``RecorderCallback`` for the ``Trainer`` of Hugging Face
==================  =====================================================================
"""

from probes.hooks.recorder import Recorder
from probes.hooks.schedule import EveryN, LogSpaced, Schedule
from probes.hooks.sinks import MLflowSink, Sink, TensorBoardSink, WandbSink

__all__ = ["EveryN", "LogSpaced", "MLflowSink", "Recorder", "Schedule", "Sink", "TensorBoardSink", "WandbSink"]
