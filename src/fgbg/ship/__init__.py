"""Using models: export, prediction, and the page that serves them."""

import os

# Before ONNX Runtime is imported: it would otherwise report to its makers which models it runs, by name and hash.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
