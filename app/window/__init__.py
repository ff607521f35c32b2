"""The window: a page in the browser, one module per room. Nothing else imports gradio."""

import os

# Gradio reads these when it is imported: no word about the artist's work leaves this machine.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

from app.window.page import build
from app.window.server.serving import serve

__all__ = ["build", "serve"]
