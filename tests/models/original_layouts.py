"""Tensors as the original repositories name them, spelled out part by part."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from torch import Tensor


def original_names(depth: int, masks: int = 4, layers: int = 2) -> dict[str, str]:
    """segment-anything's name of each tensor to transformers', spelled out part by part."""
    both = ("weight", "bias")
    names = {
        "image_encoder.pos_embed": "vision_encoder.pos_embed",
        "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix": (
            "shared_image_embedding.positional_embedding"
        ),
        "prompt_encoder.not_a_point_embed.weight": "prompt_encoder.not_a_point_embed.weight",
        "prompt_encoder.no_mask_embed.weight": "prompt_encoder.no_mask_embed.weight",
        "mask_decoder.iou_token.weight": "mask_decoder.iou_token.weight",
        "mask_decoder.mask_tokens.weight": "mask_decoder.mask_tokens.weight",
        "image_encoder.neck.0.weight": "vision_encoder.neck.conv1.weight",
        "image_encoder.neck.2.weight": "vision_encoder.neck.conv2.weight",
    }
    pairs = {
        "image_encoder.patch_embed.proj": "vision_encoder.patch_embed.projection",
        "image_encoder.neck.1": "vision_encoder.neck.layer_norm1",
        "image_encoder.neck.3": "vision_encoder.neck.layer_norm2",
        "prompt_encoder.mask_downscaling.0": "prompt_encoder.mask_embed.conv1",
        "prompt_encoder.mask_downscaling.1": "prompt_encoder.mask_embed.layer_norm1",
        "prompt_encoder.mask_downscaling.3": "prompt_encoder.mask_embed.conv2",
        "prompt_encoder.mask_downscaling.4": "prompt_encoder.mask_embed.layer_norm2",
        "prompt_encoder.mask_downscaling.6": "prompt_encoder.mask_embed.conv3",
        "mask_decoder.output_upscaling.0": "mask_decoder.upscale_conv1",
        "mask_decoder.output_upscaling.1": "mask_decoder.upscale_layer_norm",
        "mask_decoder.output_upscaling.3": "mask_decoder.upscale_conv2",
        "mask_decoder.transformer.norm_final_attn": (
            "mask_decoder.transformer.layer_norm_final_attn"
        ),
    }
    for i in range(4):
        old = f"prompt_encoder.point_embeddings.{i}.weight"
        names[old] = f"prompt_encoder.point_embed.{i}.weight"
    for i in range(depth):
        old, new = f"image_encoder.blocks.{i}", f"vision_encoder.layers.{i}"
        pairs |= {f"{old}.norm{n}": f"{new}.layer_norm{n}" for n in (1, 2)}
        pairs |= {f"{old}.{p}": f"{new}.{p}" for p in ("attn.qkv", "attn.proj")}
        pairs |= {f"{old}.mlp.lin{n}": f"{new}.mlp.lin{n}" for n in (1, 2)}
        names |= {f"{old}.attn.rel_pos_{a}": f"{new}.attn.rel_pos_{a}" for a in "hw"}
    heads = [f"output_hypernetworks_mlps.{i}" for i in range(masks)] + ["iou_prediction_head"]
    for head in heads:
        for i, part in enumerate(("proj_in", "layers.0", "proj_out")):
            pairs[f"mask_decoder.{head}.layers.{i}"] = f"mask_decoder.{head}.{part}"
    transformer = "mask_decoder.transformer"
    attentions = [f"{transformer}.final_attn_token_to_image"]
    for i in range(layers):
        layer = f"{transformer}.layers.{i}"
        attentions += [
            f"{layer}.self_attn",
            f"{layer}.cross_attn_token_to_image",
            f"{layer}.cross_attn_image_to_token",
        ]
        pairs |= {f"{layer}.norm{n}": f"{layer}.layer_norm{n}" for n in (1, 2, 3, 4)}
        pairs |= {f"{layer}.mlp.lin{n}": f"{layer}.mlp.lin{n}" for n in (1, 2)}
    for attention in attentions:
        pairs |= {f"{attention}.{p}_proj": f"{attention}.{p}_proj" for p in ("q", "k", "v", "out")}
    return names | {f"{o}.{end}": f"{n}.{end}" for o, n in pairs.items() for end in both}


def original(network: Any) -> OrderedDict[str, Tensor]:
    """A transformers SAM as segment-anything would have saved it."""
    state = network.state_dict()
    names = original_names(len(network.vision_encoder.layers))
    return OrderedDict((old, state[new].clone()) for old, new in names.items())


def original_hq_names(depth: int) -> dict[str, str]:
    """sam-hq's name of each tensor to transformers'."""
    pairs = {
        "hf_mlp.layers.0": "hq_mask_mlp.proj_in",
        "hf_mlp.layers.1": "hq_mask_mlp.layers.0",
        "hf_mlp.layers.2": "hq_mask_mlp.proj_out",
        "compress_vit_feat.0": "compress_vit_conv1",
        "compress_vit_feat.1": "compress_vit_norm",
        "compress_vit_feat.3": "compress_vit_conv2",
        "embedding_encoder.0": "encoder_conv1",
        "embedding_encoder.1": "encoder_norm",
        "embedding_encoder.3": "encoder_conv2",
        "embedding_maskfeature.0": "mask_conv1",
        "embedding_maskfeature.1": "mask_norm",
        "embedding_maskfeature.3": "mask_conv2",
    }
    more = {
        f"mask_decoder.{old}.{end}": f"mask_decoder.{new}.{end}"
        for old, new in pairs.items()
        for end in ("weight", "bias")
    }
    token = {"mask_decoder.hf_token.weight": "mask_decoder.hq_token.weight"}
    return original_names(depth) | more | token


def original_sam2_names(blocks: int, wider: tuple[int, ...], levels: int = 4) -> dict[str, str]:
    """sam2's name of each tensor of the image parts to transformers'; points are one table there.

    Args:
        blocks: of the image encoder.
        wider: those that change the width.
        levels: of the feature pyramid.
    """
    trunk, backbone = "image_encoder.trunk", "vision_encoder.backbone"
    decoder = "mask_decoder.transformer"
    names = {f"{trunk}.{part}": f"{backbone}.{part}" for part in ("pos_embed", "pos_embed_window")}
    names["no_mem_embed"] = "no_memory_embedding"
    pairs = {f"{trunk}.patch_embed.proj": f"{backbone}.patch_embed.projection"}
    for i in range(blocks):
        old, new = f"{trunk}.blocks.{i}", f"{backbone}.blocks.{i}"
        pairs |= {f"{old}.norm{n}": f"{new}.layer_norm{n}" for n in (1, 2)}
        pairs |= {f"{old}.attn.{part}": f"{new}.attn.{part}" for part in ("qkv", "proj")}
        pairs |= {f"{old}.mlp.layers.0": f"{new}.mlp.proj_in"}
        pairs |= {f"{old}.mlp.layers.1": f"{new}.mlp.proj_out"}
        if i in wider:
            pairs[f"{old}.proj"] = f"{new}.proj"
    for i in range(levels):
        pairs[f"image_encoder.neck.convs.{i}.conv"] = f"vision_encoder.neck.convs.{i}"
    for part in ("conv_s0", "conv_s1"):
        pairs[f"sam_mask_decoder.{part}"] = f"mask_decoder.{part}"
    for i, part in enumerate(("proj_in", "layers.0", "proj_out")):
        head = "mask_decoder.pred_obj_score_head"
        pairs[f"sam_{head}.layers.{i}"] = f"{head}.{part}"
    for i in range(2):
        mlp = f"{decoder}.layers.{i}.mlp"
        pairs |= {f"sam_{mlp}.layers.0": f"{mlp}.proj_in", f"sam_{mlp}.layers.1": f"{mlp}.proj_out"}
    object_score = "mask_decoder.obj_score_token.weight"
    names[f"sam_{object_score}"] = object_score
    names |= {f"{o}.{end}": f"{n}.{end}" for o, n in pairs.items() for end in ("weight", "bias")}
    for old, new in original_names(0).items():
        taken_over = old.startswith(("prompt_encoder.", "mask_decoder."))
        if taken_over and ".mlp.lin" not in old and "point_embeddings" not in old:
            names[f"sam_{old}"] = new.replace("out_proj", "o_proj")
    return names


def original_sam2(network: Any, blocks: int, wider: tuple[int, ...]) -> dict[str, Tensor]:
    """A transformers SAM 2 as sam2 would have saved it, memory for videos included."""
    import torch

    state = network.state_dict()
    names = original_sam2_names(blocks, wider)
    tensors = {old: state[new].clone() for old, new in names.items()}
    for i, row in enumerate(state["prompt_encoder.point_embed.weight"]):
        tensors[f"sam_prompt_encoder.point_embeddings.{i}.weight"] = row[None].clone()
    for name in (
        "maskmem_tpos_enc",
        "no_mem_pos_enc",
        "no_obj_ptr",
        "no_obj_embed_spatial",
        "memory_attention.norm.weight",
        "memory_encoder.out_proj.weight",
        "mask_downsample.weight",
        "obj_ptr_proj.layers.0.weight",
        "obj_ptr_tpos_proj.weight",
    ):
        tensors[name] = torch.zeros(3)
    return tensors
