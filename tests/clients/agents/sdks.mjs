// The official SDKs of Anthropic and Google, unchanged: each asks the gateway for what people ask for, whole and streamed,
// and what they got is one JSON line.  ROOT, KEY and MODEL come from the environment.
import Anthropic from "@anthropic-ai/sdk";
import { GoogleGenAI } from "@google/genai";

const { ROOT, KEY, MODEL: model } = process.env;
const parameters = { type: "object", properties: { file_path: { type: "string" } }, required: ["file_path"] };
const seen = { anthropic: {}, google: {} };

const anthropic = new Anthropic({ baseURL: ROOT, apiKey: KEY, maxRetries: 0, timeout: 20_000 });
const asked = { model, max_tokens: 100, messages: [{ role: "user", content: "hello" }] };
const tools = [{ name: "read_file", description: "Reads a file.", input_schema: parameters }];
const text = (message) => message.content.filter((it) => it.type === "text").map((it) => it.text).join("");
const calls = (message) => message.content.filter((it) => it.type === "tool_use").map(({ name, input }) => ({ name, input }));
const whole = await anthropic.messages.create(asked);
seen.anthropic.whole = text(whole);
seen.anthropic.usage = [whole.usage.input_tokens, whole.usage.output_tokens];
seen.anthropic.streamed = text(await anthropic.messages.stream(asked).finalMessage());
seen.anthropic.called = calls(await anthropic.messages.create({ ...asked, tools }));
seen.anthropic.calledStreamed = calls(await anthropic.messages.stream({ ...asked, tools }).finalMessage());
seen.anthropic.models = [];
for await (const row of anthropic.models.list()) seen.anthropic.models.push(row.id);
seen.anthropic.unknown = await anthropic.messages.create({ ...asked, model: "no-such-model" }).then(
  () => null,
  (error) => ({ name: error.constructor.name, status: error.status, type: error.error?.error?.type }),
);

const google = new GoogleGenAI({ apiKey: KEY, httpOptions: { baseUrl: ROOT } });
const config = { tools: [{ functionDeclarations: [{ name: "read_file", parametersJsonSchema: parameters }] }] };
const answer = await google.models.generateContent({ model, contents: "hello" });
seen.google.whole = answer.text;
seen.google.usage = answer.usageMetadata.totalTokenCount;
seen.google.streamed = "";
for await (const chunk of await google.models.generateContentStream({ model, contents: "hello" })) {
  seen.google.streamed += chunk.text ?? "";
}
const called = await google.models.generateContent({ model, contents: "hello", config });
seen.google.called = called.functionCalls.map(({ name, args }) => ({ name, input: args }));
seen.google.models = [];
for await (const row of await google.models.list()) seen.google.models.push(row.name);
seen.google.unknown = await google.models.generateContent({ model: "no-such-model", contents: "hello" }).then(
  () => null,
  (error) => ({ name: error.constructor.name, status: error.status }),
);

console.log(JSON.stringify(seen));
