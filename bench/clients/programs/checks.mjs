// As checks.py, for the programs in JavaScript.
import { readFileSync } from "node:fs";

const url = process.argv[2];
export const base = `${url}/v1`;
export const model = "tinyedge";
export const prompt = "The captain";
export const fields = { temperature: 0, max_tokens: 12 };

const post = async (path, body) => {
  const answer = await fetch(url + path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  return answer.json();
};

export const complete = async (text = prompt) =>
  (await post("/v1/completions", { prompt: text, ...fields })).choices[0].text;

export const chat = async (...contents) => {
  const messages = contents.map((content) => ({ role: "user", content }));
  return (await post("/v1/chat/completions", { messages, ...fields })).choices[0].message.content;
};

export const equal = (found, expected) => {
  if (found !== expected) throw new Error(`${JSON.stringify(found)} instead of ${JSON.stringify(expected)}`);
};

export const runChecks = async (name, checks) => {
  const manifest = new URL(`./node_modules/${name}/package.json`, import.meta.url);
  const { version } = JSON.parse(readFileSync(manifest));
  const results = [];
  for (const [title, check] of Object.entries(checks)) {
    try {
      await check();
      results.push({ name: title, ok: true, error: null });
    } catch (failure) {
      console.error(failure);
      results.push({ name: title, ok: false, error: String(failure).slice(0, 300) });
    }
  }
  console.log(JSON.stringify({ version, checks: results }));
};
