"""SAM-HQ's mask decoder (Ke et al., 2023) as published."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class HqMaskDecoder(nn.Module):
    """SAM's mask decoder with a high-quality token and separate features for it.

    The decoder of transformers (up to 5.23 at least) computes masks from the image features
    before the two-way transformer, with rows and columns exchanged. This one computes them from
    the transformer's output, as the original does.

    Args:
        source: a `SamHQMaskDecoder` of transformers, whose parts are reused under their names.
    """

    iou_token: Any
    mask_tokens: Any
    hq_token: Any
    transformer: Any
    output_hypernetworks_mlps: Any
    hq_mask_mlp: Any
    iou_prediction_head: Any
    activation: Any
    upscale_conv1: Any
    upscale_layer_norm: Any
    upscale_conv2: Any
    encoder_conv1: Any
    encoder_norm: Any
    encoder_conv2: Any
    compress_vit_conv1: Any
    compress_vit_norm: Any
    compress_vit_conv2: Any
    mask_conv1: Any
    mask_norm: Any
    mask_conv2: Any

    def __init__(self, source: Any) -> None:
        super().__init__()
        for name, part in source.named_children():
            self.add_module(name, part)
        self.hidden_size = int(source.hidden_size)
        self.num_multimask_outputs = int(source.num_multimask_outputs)

    def forward(
        self,
        *,
        image_embeddings: Tensor,
        image_positional_embeddings: Tensor,
        sparse_prompt_embeddings: Tensor,
        dense_prompt_embeddings: Tensor,
        multimask_output: bool,
        hq_token_only: bool,
        intermediate_embeddings: list[Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Logits (B, P, K, h, w) and scores (B, P, K) of P prompts for each of B images.

        K is 1, or as many as there are candidates, the best first; the high-quality token's mask
        is added to each of them, or stands alone.

        Args:
            image_embeddings: (B, C, H, W).
            image_positional_embeddings: (B, C, H, W).
            sparse_prompt_embeddings: (B, P, N, C).
            dense_prompt_embeddings: (B, C, H, W).
            multimask_output: whether there are several candidates.
            hq_token_only: whether the high-quality token's mask stands alone.
            intermediate_embeddings: early features of the encoder, (B or 1, H, W, C') first.
        """
        batch, prompts = sparse_prompt_embeddings.shape[:2]
        weights = [self.iou_token.weight, self.mask_tokens.weight, self.hq_token.weight]
        own = torch.cat([torch.as_tensor(one) for one in weights])
        tokens = torch.cat((own.expand(batch, prompts, -1, -1), sparse_prompt_embeddings), dim=2)
        found, keys = self.transformer(
            point_embeddings=tokens,
            image_embeddings=_repeated(image_embeddings + dense_prompt_embeddings, prompts),
            image_positional_embeddings=_repeated(image_positional_embeddings, prompts),
            attention_similarity=None,
        )
        grid = (batch * prompts, -1, *image_embeddings.shape[-2:])
        drawn = self._upscaled(keys.transpose(2, 3).reshape(grid))
        fine = self._fine(image_embeddings, intermediate_embeddings)
        drawn_hq = self.mask_conv2(self.activation(self.mask_norm(self.mask_conv1(drawn))))
        drawn_hq = drawn_hq + (fine if fine.shape[0] == 1 else _repeated(fine, prompts))
        count = self.num_multimask_outputs + 1
        heads = self.output_hypernetworks_mlps
        queries = [heads[i](found[:, :, 1 + i]) for i in range(count)]
        masks = _products(torch.stack(queries, dim=2), drawn)
        mask_hq = _products(self.hq_mask_mlp(found[:, :, 1 + count])[:, :, None], drawn_hq)
        scores = self.iou_prediction_head(found[:, :, 0])
        if multimask_output:
            scores, order = scores[:, :, 1:].sort(dim=2, descending=True)
            candidates = masks[:, :, 1:]
            masks = candidates.gather(2, order[..., None, None].expand_as(candidates))
        else:
            scores, masks = scores[:, :, :1], masks[:, :, :1]
        return (mask_hq if hq_token_only else masks + mask_hq), scores

    def _upscaled(self, features: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C / 8, 4 H, 4 W)."""
        middle = self.activation(self.upscale_layer_norm(self.upscale_conv1(features)))
        return torch.as_tensor(self.activation(self.upscale_conv2(middle)))

    def _fine(self, image: Tensor, early: list[Tensor] | None) -> Tensor:
        """Features for the high-quality token, (B, C / 8, 4 H, 4 W)."""
        found = self.encoder_conv2(self.activation(self.encoder_norm(self.encoder_conv1(image))))
        if early:
            first = early[0].permute(0, 3, 1, 2)
            middle = self.activation(self.compress_vit_norm(self.compress_vit_conv1(first)))
            found = found + self.compress_vit_conv2(middle)
        return torch.as_tensor(found)


def _repeated(features: Tensor, prompts: int) -> Tensor:
    return features.repeat_interleave(prompts, dim=0)


def _products(queries: Tensor, features: Tensor) -> Tensor:
    """(B, P, K, C) and (B P, C, h, w) to (B, P, K, h, w)."""
    batch, prompts = queries.shape[:2]
    height, width = features.shape[-2:]
    flat = features.reshape(batch, prompts, -1, height * width)
    return (queries @ flat).view(batch, prompts, -1, height, width)
