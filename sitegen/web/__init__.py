"""What serve answers: the application, its routes, and who may use them."""
