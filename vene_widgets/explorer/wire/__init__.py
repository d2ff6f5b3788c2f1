"""Messages between kernel and browser, and how engine objects become messages."""
