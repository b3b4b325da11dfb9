"""The HTTP side of serve: the application, its routes, and who may use them."""
