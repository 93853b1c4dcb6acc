// OpenAI's client for Node.
import OpenAI from "openai";
import { base, chat, complete, equal, fields, model, prompt, runChecks } from "./checks.mjs";

const client = new OpenAI({ baseURL: base, apiKey: "none", maxRetries: 0 });
const user = { role: "user", content: prompt };

await runChecks("openai", {
  completions: async () => {
    const found = await client.completions.create({ model, prompt, ...fields });
    equal(found.choices[0].text, await complete());
  },
  "chat, second turn": async () => {
    const first = await client.chat.completions.create({ model, messages: [user], ...fields });
    const answer = first.choices[0].message;
    const messages = [user, answer, { role: "user", content: "And" }];
    const found = await client.chat.completions.create({ model, messages, ...fields });
    equal(found.choices[0].message.content, await chat(prompt, answer.content, "And"));
  },
  "chat stream": async () => {
    const parts = await client.chat.completions.create({ model, messages: [user], stream: true, ...fields });
    let text = "";
    for await (const part of parts) text += part.choices[0]?.delta?.content ?? "";
    equal(text, await chat(prompt));
  },
  responses: async () => {
    const options = { model, input: prompt, temperature: 0, max_output_tokens: fields.max_tokens };
    equal((await client.responses.create(options)).output_text, await chat(prompt));
  },
});
