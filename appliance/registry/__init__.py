"""Droplets as OCI images, made when they are first pulled.

skopeo, podman and docker pull; droplets come from the controller and the archivers.
"""
