"""Tests of `app/create`."""
