"""A repkit graph as a PyTorch module that computes what the reference repositories' models compute, by the
same operations in the same order: nn.Conv2d and nn.BatchNorm2d per branch, and pytorch_blocks.py.
"""

import json
import operator

import torch
from torch import nn
from torch.nn import functional as F

from pytorch_blocks import (
    ComputedConv,
    PaddedBatchNorm,
    SlicedConv,
    identity,
    identity_kernel,
    orepa_1x1_kernel,
    orepa_kernel,
    orepa_large_kernel,
    orepa_vgg_kernel,
)


class Model(nn.Module):
    """The graph's activations, each branch followed by its addition as in the reference's code, and each
    value freed after its last use."""

    def __init__(self, path, guard_strided_1x1=False):
        super().__init__()
        with open(path) as file:
            graph = json.load(file)
        self.nodes, self.guard = graph["nodes"], guard_strided_1x1
        self.outputs = [o["value"] for o in graph["outputs"] if self.is_activation(o["value"])]
        calls = self.calls()
        order = in_order(self.outputs, lambda value: calls[value][1])
        last = {value: use for use in order for value in calls[use][1]}
        self.steps = [
            (calls[use][0], use, calls[use][1], [v for v in set(calls[use][1]) if last[v] == use])
            for use in order
            if use != self.input
        ]

    def forward(self, x):
        values = {self.input: x}
        del x
        for function, index, inputs, dead in self.steps:
            values[index] = function(*[values[i] for i in inputs])
            for i in dead:
                del values[i]
        return [values[i] for i in self.outputs]

    def calls(self):
        """By value: the module or function that makes it, and the values it is given."""
        calls = {}
        for index, node in enumerate(self.nodes):
            kind, inputs = node["op"]["kind"], node["inputs"]
            if not self.is_activation(index):
                continue
            if kind == "input":
                self.input, calls[index] = index, (None, [])
            elif kind != "add":
                values = [i for i in inputs if self.is_activation(i)]
                calls[index] = (self.step(node), values)
            else:
                first = self.nodes[inputs[0]]["name"]
                in_place = ".dbb_" in first or first.endswith(".conv3.bn")
                add, total = operator.iadd if in_place else operator.add, inputs[0]
                for i in inputs[1:]:
                    part = index if i == inputs[-1] else (index, i)
                    calls[part] = (add, [total, i])
                    total = part
        return calls

    def is_activation(self, index):
        """Of the nodes that exist in both worlds, weights have no activation among their inputs."""
        node = self.nodes[index]
        kind = node["op"]["kind"]
        if kind in ("add", "mul", "concat"):
            return any(self.is_activation(i) for i in node["inputs"][:1])
        return kind in ACTIVATIONS

    def parameter(self, index):
        """The state-dict name of a parameter node."""
        op = self.nodes[index]["op"]
        assert op["kind"] == "param", f"{self.nodes[index]['name']}: expected a parameter"
        return op["name"]

    def place(self, path, module):
        """Puts a module where its parameters' names say."""
        parent, _, name = path.rpartition(".")
        holder = self.holder(parent) if parent else self
        holder.add_module(name, module)
        return module

    def holder(self, path):
        module = self
        for name in path.split("."):
            if name not in module._modules:
                module.add_module(name, nn.Module())
            module = module._modules[name]
        return module

    def hold(self, index):
        """Declares a parameter or buffer by its name; returns the module that holds it."""
        op = self.nodes[index]["op"]
        path, _, name = op["name"].rpartition(".")
        holder = self.holder(path)
        if op["role"] == "param":
            holder.register_parameter(name, nn.Parameter(torch.zeros(op["shape"])))
        else:
            holder.register_buffer(name, torch.zeros(op["shape"]))
        return path

    def step(self, node):
        op, inputs = node["op"], node["inputs"]
        kind = op["kind"]
        if kind == "conv2d":
            return self.conv(op, inputs)
        if kind == "batchNorm":
            return self.norm(op, inputs)
        if kind == "linear":
            out, features = self.nodes[inputs[1]]["op"]["shape"]
            path = self.parameter(inputs[1]).rpartition(".")[0]
            return self.place(path, nn.Linear(features, out, bias=len(inputs) > 2))
        if kind in ("maxPool", "avgPool"):
            pad = symmetric(op["padding"])
            if kind == "maxPool":
                return nn.MaxPool2d(op["kernel"], op["stride"], pad)
            count = op["countIncludePad"]
            return nn.AvgPool2d(op["kernel"], op["stride"], pad, count_include_pad=count)
        return SIMPLE[kind]()

    def norm(self, op, inputs):
        path = self.parameter(inputs[1]).rpartition(".")[0]
        channels = self.nodes[inputs[1]]["op"]["shape"][0]
        bn = self.place(path, nn.BatchNorm2d(channels, op["eps"], op["momentum"]))
        pixels = symmetric(op["pad"])[0]
        return PaddedBatchNorm(bn, pixels) if pixels > 0 else bn

    def conv(self, op, inputs):
        options = {name: op[name] for name in ("stride", "dilation", "groups")}
        top, bottom, left, right = op["padding"]
        if top == bottom >= 0 and left == right >= 0:
            return self.unpadded_conv(inputs, {**options, "padding": (top, left)})
        conv = self.unpadded_conv(inputs, {**options, "padding": 0})
        return lambda x: conv(F.pad(x, [left, right, top, bottom]))

    def unpadded_conv(self, inputs, options):
        weight = self.nodes[inputs[1]]["op"]
        if weight["kind"] != "param":
            return self.computed_conv(inputs[1], options)
        out, per_group, *kernel = weight["shape"]
        path = self.parameter(inputs[1]).rpartition(".")[0]
        channels = per_group * options["groups"]
        conv = nn.Conv2d(channels, out, kernel, **options, bias=len(inputs) > 2)
        self.place(path, conv)
        strided = kernel == [1, 1] and options["stride"] != [1, 1]
        return SlicedConv(conv) if self.guard and strided and channels < 16 else conv

    def computed_conv(self, index, options):
        sources = self.sources(index)
        paths = [self.hold(i) for i in sources if self.nodes[i]["op"]["kind"] == "param"]
        path = paths[0]
        if len(set(paths)) > 1:  # OREPA_LargeConv: weight0, weight1, ... are OREPA kernels themselves
            path = path.rpartition(".")[0]
        holder = self.holder(path)
        names = {name for name, _ in holder.named_parameters(recurse=False)}
        if names == {"weight"}:
            constant = next(i for i in sources if self.nodes[i]["op"]["kind"] == "constant")
            assert self.nodes[constant]["op"]["fill"]["kind"] == "identity"
            holder.id_tensor = identity(self.nodes[constant]["op"]["shape"])
            make = identity_kernel
        elif "weight_orepa_origin" in names:
            make = orepa_kernel
        elif "weight_rbr_origin" in names:
            make = orepa_vgg_kernel
        elif "weight_or1x1_origin" in names:
            make = orepa_1x1_kernel
        else:
            assert hasattr(holder, "weight0"), f"{path}: a kernel that is not known here"
            make = orepa_large_kernel(options["groups"])
        return ComputedConv(holder, make, options)

    def sources(self, index):
        """The parameters and constants that a weight is computed from, in the graph's order."""
        found, pending = set(), [index]
        while pending:
            i = pending.pop()
            if self.nodes[i]["op"]["kind"] in ("param", "constant"):
                found.add(i)
            pending.extend(self.nodes[i]["inputs"])
        return sorted(found)


def symmetric(padding):
    top, bottom, left, right = padding
    assert top == bottom and left == right, f"padding {padding} is not symmetric"
    return (top, left)


def in_order(outputs, inputs_of):
    """Everything that the outputs need, each value after its inputs, the first input's tree first."""
    order, done, pending = [], set(), list(reversed(outputs))
    while pending:
        value = pending[-1]
        missing = [i for i in inputs_of(value) if i not in done]
        if missing:
            pending.append(missing[0])
            continue
        pending.pop()
        if value not in done:
            done.add(value)
            order.append(value)
    return order


SIMPLE = {
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "sigmoid": nn.Sigmoid,
    "globalAvgPool": lambda: nn.AdaptiveAvgPool2d(1),
    "flatten": nn.Flatten,
    "mul": lambda: torch.mul,
}
ACTIVATIONS = {
    *("input", "conv2d", "batchNorm", "maxPool", "avgPool", "linear"),
    *("relu", "silu", "sigmoid", "globalAvgPool", "flatten"),
}
