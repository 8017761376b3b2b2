"""Models at work: export, prediction, the page that serves them."""

import os

# Before ONNX Runtime is imported: it would else send its makers what models it computes, by name and hash.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
