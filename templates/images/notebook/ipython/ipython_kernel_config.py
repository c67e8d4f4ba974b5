"""Every kernel's extensions; those of a student's own ~/.ipython come on top."""

c = get_config()  # noqa: F821  IPython gives it
c.InteractiveShellApp.extensions.append("occam.my_gpus")
