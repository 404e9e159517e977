# torchvision's side of bench-data-vs-torchvision.js: DIR MODE SIZE. Prints CPU milliseconds per image.
import json
import sys
import time

import torch
from torchvision import datasets, transforms

torch.set_num_threads(1)
folder, mode, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
if mode == "train":
    transform = transforms.Compose([transforms.RandomResizedCrop(size), transforms.RandomHorizontalFlip()])
else:
    transform = transforms.Compose([transforms.Resize(round(size * 256 / 224)), transforms.CenterCrop(size)])
images = datasets.ImageFolder(folder, transform)


def all_images():
    for index in range(len(images)):
        images[index][0].load()


all_images()
passes = 2
started = time.process_time()
for _ in range(passes):
    all_images()
seconds = time.process_time() - started
print(json.dumps({"cpu_milliseconds_per_image": 1000 * seconds / (passes * len(images))}))
