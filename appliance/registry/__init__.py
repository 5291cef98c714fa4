"""Droplets as OCI images. skopeo, podman and docker pull; droplets come from the controller and the archivers."""
