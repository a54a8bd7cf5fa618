"""The interactive benchmark: a robot annotator clicks on real objects."""
