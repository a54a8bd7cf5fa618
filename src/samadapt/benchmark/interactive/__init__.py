"""The interactive benchmark: a robot annotates real objects, click by click."""
