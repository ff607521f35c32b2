"""Tests of `app/train`."""
