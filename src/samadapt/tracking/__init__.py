"""Objects carried along a stack: propagation from slice to slice, filling, learning on the way."""
