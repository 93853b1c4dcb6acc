// Compares the results of transformers.js with tinyedge's, as other_tools.py does for other tools.
//     node other_tools.mjs WORK
import { AutoModelForCausalLM, AutoTokenizer, env } from "@huggingface/transformers";
import { readFileSync } from "node:fs";

const work = process.argv[2];
env.allowRemoteModels = false;
env.localModelPath = work;
const reference = JSON.parse(readFileSync(`${work}/reference.json`, "utf-8"));
const tokenizer = await AutoTokenizer.from_pretrained("model");
const model = await AutoModelForCausalLM.from_pretrained("model");
const failures = [];
const compare = (what, found, expected) => {
  if (String(found) !== String(expected)) failures.push(`${what}: ${found}, in tinyedge ${expected}`);
};

for (const [text, ids] of reference.texts) compare(JSON.stringify(text), tokenizer.encode(text), ids);
let tokens = 0;
for (const { text, ids, greedy } of reference.prompts) {
  const inputs = tokenizer(text);
  compare(text, inputs.input_ids.tolist()[0], ids);
  const done = await model.generate({ ...inputs, do_sample: false, max_new_tokens: greedy.length });
  compare(text, done.tolist()[0].slice(ids.length), greedy);
  tokens += greedy.length;
}
const verdict = failures.length ? "differs" : "equal";
console.log(`transformers.js      ${env.version}: ${tokens} greedy tokens, ${reference.texts.length} texts  ${verdict}`);
for (const failure of failures.slice(0, 5)) console.error(failure);
process.exitCode = failures.length ? 1 : 0;
