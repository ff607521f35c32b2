"""The command line and the window: the only room that starts processes and threads, or imports gradio."""
