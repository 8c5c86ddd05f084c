"""Loss terms on the surface of a mesh: face normals and edge lengths."""

import torch
from torch.nn import functional


def edges(verts: torch.Tensor, faces: torch.Tensor) -> torch.Tensor:
    """The three edges v1-v0, v2-v0, v2-v1 (B,F,3,3) of each face; verts (B,V,3), faces (F,3)."""
    a, b, c = (verts[:, faces[:, k]] for k in range(3))
    return torch.stack([b - a, c - a, c - b], 2)


def surface_errors(
    predicted: torch.Tensor, true: torch.Tensor, faces: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Normal and edge errors (B,F,3) of vertices (B,V,3), as Pixel2Mesh and MobRecon take them.

    Normal: |cosine| between each predicted edge and the true face's normal, 0 when the edge lies
    in the face. Edge: difference of lengths, in the unit of verts.
    """
    ours, theirs = edges(predicted, faces), edges(true, faces)
    normal = torch.linalg.cross(
        functional.normalize(theirs[:, :, 0], dim=-1), functional.normalize(theirs[:, :, 1], dim=-1)
    )
    normal = functional.normalize(normal, dim=-1)
    cosine = (functional.normalize(ours, dim=-1) * normal[:, :, None]).sum(-1).abs()
    return cosine, (ours.norm(dim=-1) - theirs.norm(dim=-1)).abs()
