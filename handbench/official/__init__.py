"""The official evaluators' numbers, from the official files: HO-3D, FreiHAND, DexYCB."""
