"""The annotator: a page in the browser, and the HTTP server that answers its requests."""
