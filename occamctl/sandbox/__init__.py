"""Pretend hosts: containers with sshd and an engine each, to rehearse a course on one machine, and to test on."""

from occamctl.sandbox.hosts import Sandbox, check_name, down, find, listed, state_folder, up

__all__ = ["Sandbox", "check_name", "down", "find", "listed", "state_folder", "up"]
