"""Open an ONNX graph the way every model here runs: on the CPU, few threads, none of them spinning while idle."""

from __future__ import annotations

from pathlib import Path

import onnxruntime  # type: ignore[import-untyped]


def open_session(
    model: Path, *, threads: int, arena: bool = True, restore: bool = False
) -> onnxruntime.InferenceSession:
    """
    Args:
        threads: inside one operator; several models share a small machine, so callers pass 1 unless measured.
        arena: keep freed memory for the next run. Pictures of ever other sizes would make it grow to 600 MB.
        restore: turn weights stored in 8 bits into float32 once, while opening, instead of in every run.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors only
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if restore:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    options.enable_cpu_mem_arena = arena
    options.enable_mem_pattern = arena
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
