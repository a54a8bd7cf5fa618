"""The annotator: a page in the browser, and the server that answers its clicks."""
