"""Makes vit/: a small ViTForImageClassification of Hugging Face's transformers with random weights, images, and its logits for them.

    pip install transformers safetensors torch && python test/golden/generateViT.py

The committed files come from transformers 5.18.0 and torch 2.13.0.
"""
import json
import pathlib
import shutil

import torch
from safetensors.torch import save_file
from transformers import ViTConfig, ViTForImageClassification

folder = pathlib.Path(__file__).parent / 'vit'
shutil.rmtree(folder, ignore_errors=True)
torch.manual_seed(0)
sizes = dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=40, image_size=24, patch_size=8)
model = ViTForImageClassification(ViTConfig(**sizes, num_channels=3, num_labels=5, layer_norm_eps=1e-6)).eval()
for p in model.parameters():
    p.data = 0.3 * torch.randn_like(p)
model.save_pretrained(folder)
(folder / 'preprocessor_config.json').write_text(json.dumps({'image_mean': [0.4, 0.5, 0.6], 'image_std': [0.2, 0.25, 0.3]}))
images = torch.randn(3, 3, 24, 24)
with torch.no_grad():
    logits = model.double()(images.double()).logits.float()
save_file({'images': images, 'logits': logits}, folder / 'answers.safetensors')
