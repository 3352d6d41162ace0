"""Boots the image's file system as a small virtual machine and loads it: what really is left of 256 MiB."""
