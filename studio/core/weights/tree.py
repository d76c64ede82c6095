"""The modules of a model as a tree along their dotted names."""

from __future__ import annotations

from dataclasses import dataclass, field

from studio.core.weights.layers import ModelLayers, ModelModule


@dataclass(frozen=True)
class LayerNode:
    """One level of the module names as a tree, with the sums of what lies below."""

    name: str
    path: str
    parameters: int
    size_bytes: int
    module: ModelModule | None = None
    children: tuple[LayerNode, ...] = ()


@dataclass
class _Branch:
    module: ModelModule | None = None
    children: dict[str, _Branch] = field(default_factory=dict)


def build_tree(layers: ModelLayers) -> LayerNode:
    """Return the modules as a tree along their dotted names; the root stands for the model."""
    root = _Branch()
    for module in layers.modules:
        branch = root
        for part in module.name.split("."):
            branch = branch.children.setdefault(part, _Branch())
        branch.module = module
    return _build_node("", "", root)


def _build_node(name: str, path: str, branch: _Branch) -> LayerNode:
    children = tuple(
        _build_node(part, f"{path}.{part}" if path else part, inner)
        for part, inner in branch.children.items()
    )
    own = branch.module
    return LayerNode(
        name=name,
        path=path,
        parameters=(own.parameters if own else 0) + sum(child.parameters for child in children),
        size_bytes=(own.size_bytes if own else 0) + sum(child.size_bytes for child in children),
        module=own,
        children=children,
    )
