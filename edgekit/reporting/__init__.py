"""What all HTML reports share: the page, its style, and the marks on axes."""
