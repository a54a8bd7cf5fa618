"""peft asks the Hub for configurations of base models; here it must not."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
