"""The experiment suite: tasks, methods, training, records and analysis around the library `fourierft`."""

import logging

# PEFT imports bitsandbytes where it is installed, which then warns of a kernel that it would fetch from the hub.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
