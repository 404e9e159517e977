"""One rank of PyTorch's side of compare-ddp-pytorch.js: a repkit graph as a module (pytorch_model.py), trained
by torch.nn.parallel.DistributedDataParallel over gloo. Prints losses and writes the state of this rank.

    python3 compare-ddp-pytorch.py SPECIFICATION.json RANK

    {"graph": FILE, "state": FILE.pth, "images": [FILE per step], "shape": [N,H,W,3], "labels": [[...] per step],
     "worldSize": W, "port": P, "lr": 0.1, "momentum": 0.9, "decay": 1e-4, "precision": "fp32" | "fp64",
     "out": PREFIX}

Each rank takes its share of every batch. `out` + RANK + `.pth` is the state after the last step.
"""

import json
import sys

import numpy
import torch
import torch.distributed as dist
from torch import nn

from pytorch_model import Model

MEAN = torch.tensor([0.485, 0.456, 0.406], dtype=torch.float64)
STD = torch.tensor([0.229, 0.224, 0.225], dtype=torch.float64)


def main(path, rank):
    with open(path) as file:
        request = json.load(file)
    rank, size = int(rank), request["worldSize"]
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{request['port']}", rank=rank, world_size=size
    )
    dtype = torch.float64 if request["precision"] == "fp64" else torch.float32
    model = Model(request["graph"])
    model.load_state_dict(torch.load(request["state"]))
    model = model.to(dtype).train()
    # Each rank has its own running statistics, as repkit has them.
    parallel = nn.parallel.DistributedDataParallel(model, broadcast_buffers=False)
    optimizer = torch.optim.SGD(
        model.parameters(), request["lr"], momentum=request["momentum"], weight_decay=request["decay"]
    )
    criterion = nn.CrossEntropyLoss()
    losses = []
    for file, labels in zip(request["images"], request["labels"]):
        pixels = numpy.fromfile(file, dtype=numpy.uint8).reshape(request["shape"])
        images = (torch.from_numpy(pixels).to(dtype) / 255 - MEAN.to(dtype)) / STD.to(dtype)
        count = len(labels) // size
        own = slice(rank * count, (rank + 1) * count)
        loss = criterion(parallel(images[own].permute(0, 3, 1, 2))[0], torch.tensor(labels[own]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    torch.save(model.state_dict(), f"{request['out']}{rank}.pth")
    dist.destroy_process_group()
    print(json.dumps({"losses": losses, "torch": torch.__version__}))


main(*sys.argv[1:])
