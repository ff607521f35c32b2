"""Measurements: each module a command, each figure a line in RESULTS.md."""

from styles.devices.threads import wait_passively

wait_passively()  # as in the app, and before torch is imported
