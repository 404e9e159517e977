"""The parts of pytorch_model.py that are more than one module of PyTorch, as the reference repositories write
them: BNAndPad by F.pad and border writes, OREPA's kernels by the same sequence of einsums.
References: DingXiaoH/DiverseBranchBlock@8d2b16b, JUGGHM/OREPA_CVPR2022@3ed037b.
"""

import torch
from torch import nn
from torch.nn import functional as F


class PaddedBatchNorm(nn.Module):
    """BNAndPadLayer: the border is what the running statistics make of zero, without gradient."""

    def __init__(self, bn, pixels):
        super().__init__()
        self.bn, self.pixels = bn, pixels

    def forward(self, x):
        p, bn = self.pixels, self.bn
        y = bn(x)
        std = torch.sqrt(bn.running_var + bn.eps)
        border = bn.bias.detach() - bn.running_mean * bn.weight.detach() / std
        border = border.view(1, -1, 1, 1)
        y = F.pad(y, [p] * 4)
        y[:, :, 0:p, :] = border
        y[:, :, -p:, :] = border
        y[:, :, :, 0:p] = border
        y[:, :, :, -p:] = border
        return y


class SlicedConv(nn.Module):
    """A strided 1x1 convolution of every s-th pixel. Of fewer than 16 channels in channels_last, the weight
    gradient of a strided one overruns its buffer on the CPU (pytorch/pytorch, oneDNN 2.6 and 3.12)."""

    def __init__(self, conv):
        super().__init__()
        self.conv = conv

    def forward(self, x):
        down, right = self.conv.stride
        x = x[:, :, ::down, ::right].contiguous(memory_format=torch.channels_last)
        return F.conv2d(x, self.conv.weight, self.conv.bias, groups=self.conv.groups)


class ComputedConv(nn.Module):
    """A convolution whose kernel `make` computes from the parameters of `holder`."""

    def __init__(self, holder, make, options):
        super().__init__()
        self.holder, self.make, self.options = holder, make, options

    def forward(self, x):
        return F.conv2d(x, self.make(self.holder), None, **self.options)


def rows(kernel, scale):
    return torch.einsum("oihw,o->oihw", kernel, scale)


def matrix(point):
    return point.squeeze(3).squeeze(2)


def one_by_one_then_k(first, second, groups):
    if groups == 1:
        return torch.einsum("ti,othw->oihw", first, second)
    (t, i), (o, tg, h, w) = first.shape, second.shape
    first, second = first.view(groups, t // groups, i), second.view(groups, o // groups, tg, h, w)
    return torch.einsum("gti,gothw->goihw", first, second).reshape(o, i, h, w)


def separable(depthwise, pointwise, channels, groups):
    (t, i, h, w), o = depthwise.shape, pointwise.shape[0]
    inner, expansion = channels // groups, t // channels
    depthwise = depthwise.view(groups, inner, expansion, i, h, w)
    pointwise = pointwise.squeeze().view(o // groups, groups, inner, expansion)
    dense = torch.einsum("cgtihw,ocgt->cogihw", depthwise, pointwise)
    return dense.reshape(o, inner * i, h, w)


def identity(shape):
    kernel = torch.zeros(shape)
    out, per_group = shape[:2]
    for o in range(out):
        kernel[o, o % per_group, 0, 0] = 1
    return kernel


def identity_kernel(m):
    return m.weight + m.id_tensor


def orepa_kernel(m):
    w = {name: getattr(m, f"weight_orepa_{name}") for name in OREPA_WEIGHTS}
    scale, k = m.vector, w["origin"].shape[2]
    channels = w["gconv_dw"].shape[0] // 8
    groups = channels // w["origin"].shape[1]
    origin = rows(w["origin"], scale[0, :])
    # The reference's first attempt at this term, which it then overwrites.
    torch.einsum("oihw,hw->oihw", w["avg_conv"], w["avg_avg"])
    avg = torch.einsum("oi,hw->oihw", matrix(w["avg_conv"]), w["avg_avg"])
    avg = rows(avg, scale[1, :])
    pfir = torch.einsum("oi,ohw->oihw", matrix(w["pfir_conv"]), w["prior"])
    pfir = rows(pfir, scale[2, :])
    first = matrix(w["1x1_kxk_idconv1"] + m.id_tensor)
    sequence = one_by_one_then_k(first, w["1x1_kxk_conv2"], groups)
    sequence = rows(sequence, scale[3, :])
    point = rows(F.pad(w["1x1"], [k // 2] * 4), scale[4, :])
    gconv = rows(separable(w["gconv_dw"], w["gconv_pw"], channels, groups), scale[5, :])
    return origin + avg + point + sequence + pfir + gconv


OREPA_WEIGHTS = (
    *("origin", "avg_conv", "avg_avg", "pfir_conv", "prior", "1x1"),
    *("1x1_kxk_idconv1", "1x1_kxk_conv2", "gconv_dw", "gconv_pw"),
)


def orepa_vgg_kernel(m):
    scale, channels = m.vector, m.weight_rbr_origin.shape[1]
    origin = rows(m.weight_rbr_origin, scale[0, :])
    avg = torch.einsum("oihw,hw->oihw", m.weight_rbr_avg_conv, m.weight_rbr_avg_avg)
    avg = rows(avg, scale[1, :])
    pfir = torch.einsum("oihw,ohw->oihw", m.weight_rbr_pfir_conv, m.weight_rbr_prior)
    pfir = rows(pfir, scale[2, :])
    first = (m.weight_rbr_1x1_kxk_idconv1 + m.id_tensor).squeeze()
    sequence = one_by_one_then_k(first, m.weight_rbr_1x1_kxk_conv2, 1)
    sequence = rows(sequence, scale[3, :])
    gconv = rows(separable(m.weight_rbr_gconv_dw, m.weight_rbr_gconv_pw, channels, 1), scale[4, :])
    return origin + avg + sequence + pfir + gconv


def orepa_1x1_kernel(m):
    product = torch.einsum("tihw,othw->oihw", m.weight_or1x1_l2i_conv1, m.weight_or1x1_l2i_conv2)
    return rows(m.weight_or1x1_origin, m.vector[0, :]) + rows(product, m.vector[1, :])


def orepa_large_kernel(groups):
    def one(layer):
        return orepa_kernel(layer) if isinstance(layer, nn.Module) else layer

    def make(m):
        kernel, layer = one(m.weight0).transpose(0, 1), 1
        while hasattr(m, f"weight{layer}"):
            kernel = F.conv2d(kernel, one(getattr(m, f"weight{layer}")), groups=groups, padding=2)
            layer += 1
        return kernel.transpose(0, 1)

    return make
