"""The command `sweep`: thin; it parses, asks the client, and prints."""
