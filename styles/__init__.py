"""Style files, the library, mixing, generating and bases; imports nothing else of ours.

errors < storage < formats < devices < quantization < bases < mixing < generation, and library over all but generation:
each imports those before it.
"""

import logging
import sys

# bitsandbytes, which diffusers imports wherever it is installed, loads compiled code from the Hub as soon as it is
# imported, with the package `kernels`; so does transformers. Nothing is fetched or run that nobody asked for.
sys.modules["kernels"] = None  # type: ignore[assignment]
# It warns that it hasn't found that, and of a card that it has no code for; `quantization.support` says what matters.
logging.getLogger("bitsandbytes").setLevel(logging.CRITICAL)
