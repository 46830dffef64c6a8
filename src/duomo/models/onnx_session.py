"""Open an ONNX graph the way every model here runs: on the CPU, few threads, none of them spinning while idle."""

from __future__ import annotations

from pathlib import Path

import onnxruntime


def open_session(model: Path | bytes, *, threads: int) -> onnxruntime.InferenceSession:
    """
    Args:
        model: a file, or its bytes.
        threads: inside one operator; several models share a small machine, so callers pass 1 unless measured.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors only
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    source = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
