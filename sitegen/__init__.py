"""The manager: takes the workers' reports, keeps them, and renders the static status site."""
