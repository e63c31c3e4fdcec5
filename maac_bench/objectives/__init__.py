"""One equation, one pure function, one file."""
