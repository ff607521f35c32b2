"""The Create room: the mix, the stage and the history."""
