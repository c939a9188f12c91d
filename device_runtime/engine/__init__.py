"""What runs a ``.tflite`` file: one interface, two interpreters, chosen by what is installed."""
