"""Tasks: a small adapter for each, learned from its masks, chosen per prompt by name."""

from samadapt.adapters.task_prompt.adapter import TaskPromptAdapter
from samadapt.adapters.task_prompt.config import TaskPromptConfig
from samadapt.adapters.task_prompt.tasks import Tasks

__all__ = ["TaskPromptAdapter", "TaskPromptConfig", "Tasks"]
