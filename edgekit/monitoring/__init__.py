"""Looking at a running application from here: its page's figures in the terminal, and the way to it over SSH."""
