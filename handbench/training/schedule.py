"""Optimizers and learning rates of a recipe."""

import math

import torch

from handbench.training.recipe import Recipe


def learning_rate(recipe: Recipe, step: int, total: int) -> float:
    """The rate of a step: linear warm-up, then cosine to 0, steps at milestones, or constant."""
    rate = recipe.lr * min(1.0, (step + 1) / max(1, recipe.warmup))
    if recipe.schedule == "cosine":
        done = max(0, step - recipe.warmup) / max(1, total - recipe.warmup)
        rate *= 0.5 * (1 + math.cos(math.pi * done))
    elif recipe.schedule == "multistep":
        rate *= recipe.gamma ** sum(step >= share * total for share in recipe.milestones)
    return rate


def make_optimizer(method: torch.nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Adam or AdamW; biases, norm scales and other vectors are not decayed."""
    parameters = [p for p in method.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[recipe.optimizer]
    return kind([group for group in groups if group["params"]], lr=recipe.lr, fused=True)
