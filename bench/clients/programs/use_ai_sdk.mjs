// Vercel's AI SDK, with its providers for OpenAI and for compatible servers.
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, streamText } from "ai";
import { base, chat, complete, equal, fields, model, prompt, runChecks } from "./checks.mjs";

const compatible = createOpenAICompatible({ name: "tinyedge", baseURL: base, apiKey: "none" });
const openai = createOpenAI({ baseURL: base, apiKey: "none" });
const settings = { temperature: 0, maxOutputTokens: fields.max_tokens, maxRetries: 0 };
const user = { role: "user", content: prompt };

await runChecks("ai", {
  "chat, second turn": async () => {
    const first = await generateText({ model: compatible(model), messages: [user], ...settings });
    const messages = [user, ...(first.response?.messages ?? []), { role: "user", content: "And" }];
    const found = await generateText({ model: compatible(model), messages, ...settings });
    equal(found.text, await chat(prompt, first.text, "And"));
  },
  "chat stream": async () => {
    const { textStream } = streamText({ model: compatible(model), prompt, ...settings });
    let text = "";
    for await (const part of textStream) text += part;
    equal(text, await chat(prompt));
  },
  completions: async () => {
    const found = await generateText({ model: compatible.completionModel(model), prompt, ...settings });
    if (typeof found.text !== "string") throw new Error("no text");
  },
  "responses (the default of @ai-sdk/openai)": async () => {
    const found = await generateText({ model: openai(model), prompt, ...settings });
    equal(found.text, await chat(prompt));
    const { textStream } = streamText({ model: openai(model), prompt, ...settings });
    let text = "";
    for await (const part of textStream) text += part;
    equal(text, await chat(prompt));
  },
});
