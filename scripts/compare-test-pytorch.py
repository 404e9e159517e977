"""The PyTorch side of scripts/compare-test-pytorch.js: evaluates a model on the images of a folder with
torchvision's transforms, and compares with the logits that `repkit test` has written.

    python3 compare-test-pytorch.py GRAPH.json WEIGHTS.pth FOLDER SIZE RESIZE LOGITS.safetensors
"""

import json
import sys

import numpy
import torch
from torchvision import datasets, transforms

from pytorch_model import Model

NORMALIZE = transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


def read_safetensors(path):
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        data = file.read()
    types = {"F32": numpy.float32, "I64": numpy.int64}
    return {
        name: torch.from_numpy(
            numpy.frombuffer(data[slice(*entry["data_offsets"])], types[entry["dtype"]]).copy()
        ).reshape(entry["shape"])
        for name, entry in header.items()
        if name != "__metadata__"
    }


def percentage_of_hits(logits, labels, k):
    guesses = logits.topk(min(k, logits.shape[1]), dim=1).indices
    return (guesses == labels[:, None]).any(1).sum().item() * 100 / len(labels)


def main(graph, weights, folder, size, resize, ours):
    steps = [transforms.Resize(int(resize)), transforms.CenterCrop(int(size))]
    images = datasets.ImageFolder(
        folder, transforms.Compose([*steps, transforms.ToTensor(), NORMALIZE])
    )
    model = Model(graph)
    state = torch.load(weights, map_location="cpu")
    model.load_state_dict(state.get("state_dict", state))
    model.eval()
    logits, labels = [], []
    with torch.no_grad():
        for pixels, targets in torch.utils.data.DataLoader(images, batch_size=64):
            logits.append(model(pixels)[0])
            labels.append(targets)
    logits, labels = torch.cat(logits), torch.cat(labels)

    written = read_safetensors(ours)
    assert written["logits"].shape == logits.shape, "the numbers of images or classes differ"
    assert torch.equal(written["labels"], labels), "the labels differ"
    differs = (written["logits"].argmax(1) != logits.argmax(1)).nonzero().flatten()
    report = {
        "acc1": percentage_of_hits(logits, labels, 1),
        "acc5": percentage_of_hits(logits, labels, 5),
        "largest_logit": logits.abs().max().item(),
        "max_difference": (written["logits"] - logits).abs().max().item(),
        "other_top1": [images.samples[i][0] for i in differs],
        "torch": torch.__version__,
    }
    print(json.dumps(report))


main(*sys.argv[1:])
