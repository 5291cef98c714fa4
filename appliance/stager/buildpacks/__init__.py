"""Classic Cloud Foundry buildpacks: brought here, and run in the sandbox."""
