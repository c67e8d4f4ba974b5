"""Extensions of kernels; those of a student's own ~/.ipython come on top."""

import os

c = get_config()  # noqa: F821  IPython gives it
if "NVIDIA_DRIVER_CAPABILITIES" in os.environ:  # only containers that were given a GPU have it
    c.InteractiveShellApp.extensions.append("occam.my_gpus")
