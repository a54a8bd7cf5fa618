"""SAM, SAM-HQ, SAM 2 and the SAM 3 tracker through Hugging Face transformers."""
