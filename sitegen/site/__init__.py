"""Evaluates the stored facts and renders them to pages, JSON and files."""
