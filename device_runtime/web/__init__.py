"""The live page: pictures, figures, metrics and health over HTTP, for browsers, Prometheus and ``edgekit monitor``."""
