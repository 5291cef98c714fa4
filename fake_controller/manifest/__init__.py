"""App manifests: read, checked, compared with what is there, applied, and made of it."""
