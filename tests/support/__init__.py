"""What do several tests need? Nothing here is a test; the first line of a file says what it is for."""
