"""Cards: an operating system's image, with an application on it that starts at the first boot, verified to the byte."""
