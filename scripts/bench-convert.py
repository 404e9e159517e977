"""What people do today, for scripts/bench-convert.js: build the training model in PyTorch, load its
weights, fold every block with tensor operations, save the deployed state dict.

    python3 bench-convert.py resnet50-dbb|repvgg-b3 IN.pth OUT.pth
"""

import sys

import torch
from torch import nn
from torch.nn import functional as F


def conv(i, o, k, stride=1, padding=0):
    return nn.Conv2d(i, o, k, stride, padding, bias=False)


def fuse(weight, bn):
    factor = bn.weight / (bn.running_var + bn.eps).sqrt()
    return weight * factor.reshape(-1, 1, 1, 1), bn.bias - bn.running_mean * factor


class ConvBN(nn.Module):
    def __init__(self, i, o, k, stride=1):
        super().__init__()
        self.conv = conv(i, o, k, stride, k // 2)
        self.bn = nn.BatchNorm2d(o)

    def fold(self):
        return "conv", fuse(self.conv.weight, self.bn)


class PaddedBN(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.bn = nn.BatchNorm2d(channels)


class IdentityConv(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(channels, channels, 1, 1))


class DBB(nn.Module):
    def __init__(self, i, o, k, stride=1):
        super().__init__()
        self.dbb_origin = ConvBN(i, o, k, stride)
        self.dbb_avg = nn.Module()
        self.dbb_avg.conv = conv(i, o, 1)
        self.dbb_avg.bn = PaddedBN(o)
        self.dbb_avg.avgbn = nn.BatchNorm2d(o)
        self.dbb_1x1 = ConvBN(i, o, 1, stride)
        self.dbb_1x1_kxk = nn.Module()
        self.dbb_1x1_kxk.idconv1 = IdentityConv(i)
        self.dbb_1x1_kxk.bn1 = PaddedBN(i)
        self.dbb_1x1_kxk.conv2 = conv(i, o, k, stride)
        self.dbb_1x1_kxk.bn2 = nn.BatchNorm2d(o)
        self.k = k

    def fold(self):
        k, channels = self.k, self.dbb_avg.avgbn.num_features
        kernel, bias = fuse(self.dbb_origin.conv.weight, self.dbb_origin.bn)
        point, point_bias = fuse(self.dbb_1x1.conv.weight, self.dbb_1x1.bn)
        average = torch.zeros(channels, channels, k, k)
        average[range(channels), range(channels)] = 1 / k**2
        inner = self.dbb_1x1_kxk.idconv1.weight
        inner = inner + torch.eye(inner.shape[0]).reshape(inner.shape)
        sequences = (
            (self.dbb_avg.conv.weight, self.dbb_avg.bn.bn, average, self.dbb_avg.avgbn),
            (inner, self.dbb_1x1_kxk.bn1.bn, self.dbb_1x1_kxk.conv2.weight, self.dbb_1x1_kxk.bn2),
        )
        kernel, bias = kernel + F.pad(point, [k // 2] * 4), bias + point_bias
        for first, first_bn, second, second_bn in sequences:
            first, first_bias = fuse(first, first_bn)
            second, second_bias = fuse(second, second_bn)
            kernel = kernel + F.conv2d(second, first.permute(1, 0, 2, 3))
            bias = bias + second_bias + (second * first_bias.reshape(1, -1, 1, 1)).sum((1, 2, 3))
        return "dbb_reparam", (kernel, bias)


class RepVGGBlock(nn.Module):
    def __init__(self, i, o, stride):
        super().__init__()
        self.rbr_identity = nn.BatchNorm2d(i) if i == o and stride == 1 else None
        self.rbr_dense = ConvBN(i, o, 3, stride)
        self.rbr_1x1 = ConvBN(i, o, 1, stride)

    def fold(self):
        kernel, bias = fuse(self.rbr_dense.conv.weight, self.rbr_dense.bn)
        point, point_bias = fuse(self.rbr_1x1.conv.weight, self.rbr_1x1.bn)
        kernel, bias = kernel + F.pad(point, [1] * 4), bias + point_bias
        if self.rbr_identity is not None:
            channels = self.rbr_identity.num_features
            identity = torch.zeros(channels, channels, 3, 3)
            identity[range(channels), range(channels), 1, 1] = 1
            identity, identity_bias = fuse(identity, self.rbr_identity)
            kernel, bias = kernel + identity, bias + identity_bias
        return "rbr_reparam", (kernel, bias)


class Bottleneck(nn.Module):
    def __init__(self, i, planes, stride):
        super().__init__()
        if stride != 1 or i != 4 * planes:
            self.shortcut = ConvBN(i, 4 * planes, 1, stride)
        self.conv1 = ConvBN(i, planes, 1)
        self.conv2 = DBB(planes, planes, 3, stride)
        self.conv3 = ConvBN(planes, 4 * planes, 1)


def resnet50_dbb():
    model = nn.Module()
    model.stage0 = nn.Module()
    model.stage0.conv1 = ConvBN(3, 64, 7, 2)
    channels = 64
    for index, (depth, planes) in enumerate(((3, 64), (4, 128), (6, 256), (3, 512))):
        blocks = []
        for block in range(depth):
            blocks.append(Bottleneck(channels, planes, 2 if index > 0 and block == 0 else 1))
            channels = 4 * planes
        setattr(model, f"stage{index + 1}", nn.Sequential(*blocks))
    model.linear = nn.Linear(channels, 1000)
    return model


def repvgg_b3():
    model = nn.Module()
    model.stage0 = RepVGGBlock(3, 64, 2)
    channels = 64
    for index, (depth, width) in enumerate(((4, 192), (6, 384), (16, 768), (1, 2560))):
        blocks = []
        for block in range(depth):
            blocks.append(RepVGGBlock(channels, width, 2 if block == 0 else 1))
            channels = width
        setattr(model, f"stage{index + 1}", nn.Sequential(*blocks))
    model.linear = nn.Linear(channels, 1000)
    return model


def main(name, source, target):
    model = {"resnet50-dbb": resnet50_dbb, "repvgg-b3": repvgg_b3}[name]()
    model.load_state_dict(torch.load(source))
    deployed = {}
    with torch.no_grad():
        for path, module in model.named_modules():
            inside = path.rpartition(".")[0]
            while inside and not hasattr(model.get_submodule(inside), "fold"):
                inside = inside.rpartition(".")[0]
            if hasattr(module, "fold") and not inside:
                attribute, (weight, bias) = module.fold()
                deployed[f"{path}.{attribute}.weight"] = weight
                deployed[f"{path}.{attribute}.bias"] = bias
        deployed["linear.weight"] = model.linear.weight.data
        deployed["linear.bias"] = model.linear.bias.data
    torch.save(deployed, target)


main(*sys.argv[1:])
