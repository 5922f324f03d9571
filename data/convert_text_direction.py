#!/usr/bin/env python3
"""Writes data/text_direction/ from a pretrained network of PaddleOCR, as PyPI's rapidocr-onnxruntime 1.4.4 ships it.

    pip download --no-deps rapidocr-onnxruntime==1.4.4 && unzip rapidocr_onnxruntime-*.whl
    pip install numpy onnx onnxruntime safetensors
    python3 data/convert_text_direction.py rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx

Weights are renamed to the modules of examples/text_direction.h and not changed. Beside them: what ONNX Runtime answers to
four images that a formula makes.
"""
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from safetensors.numpy import save_file

source = sys.argv[1]
folder = Path(sys.argv[2] if len(sys.argv) > 2 else Path(__file__).parent / "text_direction")
weights = {node.output[0]: onnx.numpy_helper.to_array(node.attribute[0].t)
           for node in onnx.load(source).graph.node if node.op_type == "Constant"}
state = {}


def conv_norm(to, conv, norm):
    state[f"{to}.conv.weight"] = weights[f"{conv}_weights"]
    for ours, theirs in (("weight", "scale"), ("bias", "offset"), ("running_mean", "mean"), ("running_var", "variance")):
        state[f"{to}.norm.{ours}"] = weights[f"{norm}_{theirs}"]
    state[f"{to}.norm.num_batches_tracked"] = np.int64(0)


conv_norm("stem", "conv1", "conv1_bn")
for block in range(2, 13):
    to = f"blocks.{block - 2}"
    for part, name in (("expand", "expand"), ("depthwise", "depthwise"), ("project", "linear")):
        conv_norm(f"{to}.{part}", f"conv{block}_{name}", f"conv{block}_{name}_bn")
    if f"conv{block}_se_1_weights" in weights:
        for k, part in (("1", "squeeze"), ("2", "excite")):
            state[f"{to}.attention.{part}.weight"] = weights[f"conv{block}_se_{k}_weights"]
            state[f"{to}.attention.{part}.bias"] = weights[f"conv{block}_se_{k}_offset"]
conv_norm("last", "conv_last", "conv_last_bn")
state["classify.weight"] = np.ascontiguousarray(weights["fc_0.w_0"].T)
state["classify.bias"] = weights["fc_0.b_0"]

folder.mkdir(exist_ok=True)
save_file({name: np.asarray(value) for name, value in state.items()}, folder / "weights.safetensors")

# Numbers from -1 to 1 in steps of 1/32, which every program computes alike.
n, c, i, j = np.meshgrid(*map(np.arange, (4, 3, 48, 192)), indexing="ij")
image = ((i * (7 + n) + j * 13 + c * 29 + n * 31 + i * j // 16) % 65 / 32 - 1).astype(np.float32)
session = onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])
answer = session.run(None, {session.get_inputs()[0].name: image})[0]
save_file({"probabilities": answer}, folder / "expected.safetensors")
print(len(state), "tensors,", sum(v.size for v in state.values()), "numbers; answers", answer.tolist())
