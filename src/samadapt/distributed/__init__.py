"""Work on many images: the same function per image, in processes of one machine or on Ray."""
