"""Looking for what is wrong: downloads, prepared splits, files, leaks; and what splits hold."""
