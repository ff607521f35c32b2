"""The Settings room: bases, the machine, files, language and other devices."""
