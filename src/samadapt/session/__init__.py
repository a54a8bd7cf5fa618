"""Sessions: events, their log, undo, replay, and the robot annotator."""
