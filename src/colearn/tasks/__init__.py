"""Tasks to learn together: data sets, and how their rows are dealt to learners.

Importing this package loads no machine-learning framework.
"""

from __future__ import annotations

from colearn.tasks.base import Task
from colearn.tasks.cifar import cifar10
from colearn.tasks.division import Division, Site, divide
from colearn.tasks.images import fashion_mnist, mnist
from colearn.tasks.partition import Split, partition
from colearn.tasks.rare import fraud
from colearn.tasks.tables import csv
from colearn.tasks.toy import breast_cancer, diabetes, digits, iris, wine
from colearn.tasks.trucks import scania
from colearn.tasks.xrays import xray

__all__ = [
    "Division",
    "Site",
    "Split",
    "Task",
    "breast_cancer",
    "cifar10",
    "csv",
    "diabetes",
    "digits",
    "divide",
    "fashion_mnist",
    "fraud",
    "iris",
    "mnist",
    "partition",
    "scania",
    "wine",
    "xray",
]
