"""The folder of styles: catalogue and index, import, search, edit, notes, trash, and all that sharing asks."""
