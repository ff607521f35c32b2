"""Settings files of other trainers: what this plan has of them, and each line that it doesn't have."""
