"""The PyTorch side of scripts/bench-vs-pytorch.js: builds models from repkit's graphs (pytorch_model.py) and
runs the training step of the reference scripts on request. One JSON document per line, in and out.

    {"do": "load", "key": K, "graph": FILE, "state": FILE.pth, "images": FILE, "shape": [N,H,W,3],
     "labels": [...], "layout": "nchw" | "channels_last", "precision": "fp32" | "bf16", "mode": "step" |
     "forward", "lr": 0.001}                               -> {"parameters": n}
    {"do": "run", "key": K, "times": n}                    -> {"seconds": [...], "losses": [...]}
    {"do": "about"}                                        -> versions, threads

    python3 bench-vs-pytorch.py THREADS
"""

import json
import os
import sys
import time

import numpy
import torch
from torch import nn

from pytorch_model import Model

MEAN = torch.tensor([0.485, 0.456, 0.406])
STD = torch.tensor([0.229, 0.224, 0.225])
AUXILIARY_WEIGHT = 0.1  # RepVGGplus


class Runner:
    def __init__(self, request):
        channels_last = request["layout"] == "channels_last"
        self.format = torch.channels_last if channels_last else torch.contiguous_format
        self.is_bf16, self.is_step = request["precision"] == "bf16", request["mode"] == "step"
        # The scripts call zero_grad() as it comes; freeing gradients instead is part of the best setting.
        self.zero_options = {"set_to_none": True} if channels_last else {}
        self.model = Model(request["graph"], guard_strided_1x1=channels_last)
        self.model.load_state_dict(torch.load(request["state"]))
        self.model.to(memory_format=self.format).train(self.is_step)
        pixels = numpy.fromfile(request["images"], dtype=numpy.uint8).reshape(request["shape"])
        images = (torch.from_numpy(pixels).float() / 255 - MEAN) / STD
        self.images = images.permute(0, 3, 1, 2).contiguous(memory_format=self.format)
        self.target = torch.tensor(request["labels"])
        self.criterion = nn.CrossEntropyLoss()
        self.optimizer = torch.optim.SGD(
            self.model.parameters(), request["lr"], momentum=0.9, weight_decay=1e-4
        )

    def run(self):
        started = time.perf_counter()
        loss = self.step() if self.is_step else self.forward()
        return time.perf_counter() - started, loss

    def step(self):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.is_bf16):
            output, *auxiliary = self.model(self.images)
            loss = self.criterion(output, self.target)
            for head in auxiliary:
                loss = loss + AUXILIARY_WEIGHT * self.criterion(head, self.target)
        acc1, acc5 = accuracy(output, self.target, topk=(1, 5))
        values = [loss.item(), acc1.item(), acc5.item()]
        self.optimizer.zero_grad(**self.zero_options)
        loss.backward()
        self.optimizer.step()
        return values[0]

    def forward(self):
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.is_bf16):
            return self.criterion(self.model(self.images)[0], self.target).item()


def accuracy(output, target, topk):
    with torch.no_grad():
        _, predicted = output.topk(max(topk), 1, True, True)
        correct = predicted.t().eq(target.view(1, -1).expand_as(predicted.t()))
        share = 100.0 / target.size(0)
        return [correct[:k].reshape(-1).float().sum(0, keepdim=True).mul_(share) for k in topk]


def answer(request, runners):
    if request["do"] == "about":
        return {
            "torch": torch.__version__,
            "python": sys.version.split()[0],
            "threads": torch.get_num_threads(),
        }
    if request["do"] == "load":
        runner = runners[request["key"]] = Runner(request)
        return {"parameters": sum(p.numel() for p in runner.model.parameters())}
    runs = [runners[request["key"]].run() for _ in range(request["times"])]
    return {"seconds": [s for s, _ in runs], "losses": [loss for _, loss in runs]}


def main(threads):
    # Answers go to the stdout that we were given; whatever a library prints goes to stderr.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    torch.set_num_threads(int(threads))
    runners = {}
    for line in sys.stdin:
        try:
            document = answer(json.loads(line), runners)
        except Exception as error:
            document = {"error": f"{type(error).__name__}: {error}"}
        out.write(json.dumps(document) + "\n")
        out.flush()


main(*sys.argv[1:])
