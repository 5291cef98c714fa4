"""Programs of ours that copy files in an instance; they run in its sandbox, see `kernel…enter`.

They need nothing but the standard library, and what they may do is what the sandbox allows.
"""
