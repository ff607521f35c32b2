"""The server under the page: who is let in, sessions, uploads, news, the endpoints for scripts."""
