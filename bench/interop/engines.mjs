// Runs a portable model in ONNX Runtime's packages for JavaScript, as engines.py does for other engines.
//     node engines.mjs PACKAGE WORK
// reference.json must have the logits: `last_logits` of each prompt, those of the last position.
import { readFileSync } from "node:fs";

const [name, work] = process.argv.slice(2);
const ort = await import(name);
const { version } = JSON.parse(readFileSync(`node_modules/${name}/package.json`, "utf-8"));
if (name === "onnxruntime-web") ort.env.wasm.numThreads = 1;
const config = JSON.parse(readFileSync(`${work}/model/config.json`, "utf-8"));
const reference = JSON.parse(readFileSync(`${work}/reference.json`, "utf-8"));
const session = await ort.InferenceSession.create(readFileSync(`${work}/model/onnx/model.onnx`));
const heads = config.num_attention_heads;
const past = () => new ort.Tensor("float32", new Float32Array(0), [1, heads, 0, config.hidden_size / heads]);
const integers = (values) => new ort.Tensor("int64", BigInt64Array.from(values, BigInt), [1, values.length]);

let [equal, tokens, worst] = [0, 0, 0];
for (const { ids, argmax, last_logits: expected } of reference.prompts) {
  const sequence = [...ids, ...argmax];
  const inputs = {
    input_ids: integers(sequence),
    attention_mask: integers(sequence.map(() => 1)),
    position_ids: integers(sequence.map((_, index) => index)),
  };
  for (let layer = 0; layer < config.num_hidden_layers; layer++)
    for (const part of ["key", "value"]) inputs[`past_key_values.${layer}.${part}`] = past();
  const { logits } = await session.run(inputs);
  const width = logits.dims[2];
  const row = (position) => logits.data.subarray(position * width, (position + 1) * width);
  argmax.forEach((token, index) => {
    const values = row(ids.length - 1 + index);
    equal += values.indexOf(Math.max(...values)) === token;
    tokens += 1;
  });
  const scale = Math.max(1, ...expected.map(Math.abs));
  const last = row(sequence.length - 1);
  expected.forEach((value, index) => (worst = Math.max(worst, Math.abs(value - last[index]) / scale)));
}
console.log(JSON.stringify({ engine: name, version, max_difference: worst, greedy_equal: equal, greedy_tokens: tokens }));
