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
    """Adam or AdamW; biases, norm scales and other vectors are not decayed.

    Each group's `factor` multiplies the learning rate: backbone_rate for the method's backbone.
    """
    groups: dict[tuple[bool, bool], list[torch.nn.Parameter]] = {}
    for name, parameter in method.named_parameters():
        if parameter.requires_grad:
            slow = name.startswith("backbone.") and recipe.backbone_rate != 1
            groups.setdefault((slow, parameter.ndim > 1), []).append(parameter)
    kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[recipe.optimizer]
    made = [
        {
            "params": groups[slow, decayed],
            "weight_decay": recipe.weight_decay if decayed else 0.0,
            "factor": recipe.backbone_rate if slow else 1.0,
        }
        for slow, decayed in sorted(groups, reverse=True)
    ]
    return kind(made, lr=recipe.lr, fused=True)
