"""Task prompts: one task, learned from its masks as a change of the prompt."""

from samadapt.adapters.task_prompt.adapter import TaskPromptAdapter
from samadapt.adapters.task_prompt.config import TaskPromptConfig

__all__ = ["TaskPromptAdapter", "TaskPromptConfig"]
