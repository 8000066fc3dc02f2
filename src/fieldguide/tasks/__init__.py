"""What is asked of a picture: how an answer is said, and how one is read."""
