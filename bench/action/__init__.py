"""The GitHub Action of action.yml."""
