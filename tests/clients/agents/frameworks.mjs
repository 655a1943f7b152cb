// The AI SDK and LangChain, unchanged: each has the model read a file by a tool, whole and streamed, and goes on with the
// conversation.  What came of it is one JSON line: of each library what it was told last, or its error.
// ROOT, KEY, MODEL and FILE come from the environment.
import { createAnthropic } from "@ai-sdk/anthropic";
import { createGoogleGenerativeAI } from "@ai-sdk/google";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { ChatAnthropic } from "@langchain/anthropic";
import { HumanMessage } from "@langchain/core/messages";
import { tool as langchainTool } from "@langchain/core/tools";
import { ChatGoogleGenerativeAI } from "@langchain/google-genai";
import { ChatOpenAI } from "@langchain/openai";
import { generateText, stepCountIs, streamText, tool } from "ai";
import { readFileSync } from "node:fs";
import { z } from "zod";

const { ROOT, KEY, MODEL: model, FILE } = process.env;
const schema = z.object({ file_path: z.string() });
const prompt = `Read ${FILE} and tell me what it says.`;
const read = ({ file_path }) => readFileSync(file_path, "utf8");
globalThis.AI_SDK_LOG_WARNINGS = false;

const tools = { read_file: tool({ description: "Reads a file.", inputSchema: schema, execute: async (it) => read(it) }) };
const asked = { tools, stopWhen: stepCountIs(3), maxRetries: 0 };
const openai = createOpenAI({ baseURL: `${ROOT}/v1`, apiKey: KEY });
const models = {
  "ai chat": openai.chat(model),
  "ai responses": openai.responses(model),
  "ai compatible": createOpenAICompatible({ name: "tollway", baseURL: `${ROOT}/v1`, apiKey: KEY })(model),
  "ai anthropic": createAnthropic({ baseURL: `${ROOT}/v1`, apiKey: KEY })(model),
  "ai google": createGoogleGenerativeAI({ baseURL: `${ROOT}/v1beta`, apiKey: KEY })(model),
};
const langchain = {
  "langchain chat": new ChatOpenAI({ model, apiKey: KEY, configuration: { baseURL: `${ROOT}/v1` }, maxRetries: 0 }),
  "langchain responses": new ChatOpenAI({
    model, apiKey: KEY, useResponsesApi: true, configuration: { baseURL: `${ROOT}/v1` }, maxRetries: 0,
  }),
  "langchain anthropic": new ChatAnthropic({ model, apiKey: KEY, anthropicApiUrl: ROOT, maxRetries: 0 }),
  "langchain google": new ChatGoogleGenerativeAI({ model, apiKey: KEY, baseUrl: ROOT, maxRetries: 0 }),
};
const readFile = langchainTool(async (it) => read(it), { name: "read_file", description: "Reads a file.", schema });

const seen = {};
const told = async (name, ask) => {
  seen[name] = await ask().catch((error) => `${error.name}: ${error.message}`);
};

for (const [name, it] of Object.entries(models)) {
  await told(`${name}, whole`, async () => {
    const first = await generateText({ ...asked, model: it, prompt });
    const messages = [{ role: "user", content: prompt }, ...first.response.messages, { role: "user", content: "Again?" }];
    const second = await generateText({ ...asked, model: it, messages });
    return first.text === second.text ? first.text : `${first.text} and then ${second.text}`;
  });
  await told(`${name}, streamed`, async () => {
    let failed = null;
    const stream = streamText({ ...asked, model: it, prompt, onError: ({ error }) => { failed = error; } });
    let text = "";
    for await (const piece of stream.textStream) text += piece;
    if (failed) throw failed;
    return text;
  });
}
for (const [name, it] of Object.entries(langchain)) {
  await told(`${name}, whole`, async () => {
    const bound = it.bindTools([readFile]);
    const messages = [new HumanMessage(prompt)];
    const first = await bound.invoke(messages);
    messages.push(first);
    for (const call of first.tool_calls) messages.push(await readFile.invoke(call));
    return (await bound.invoke(messages)).text;
  });
  await told(`${name}, streamed`, async () => {
    const bound = it.bindTools([readFile]);
    const messages = [new HumanMessage(prompt)];
    let first;
    for await (const piece of await bound.stream(messages)) first = first ? first.concat(piece) : piece;
    messages.push(first);
    for (const call of first.tool_calls) messages.push(await readFile.invoke(call));
    let text = "";
    for await (const piece of await bound.stream(messages)) text += piece.text;
    return text;
  });
}
console.log(JSON.stringify(seen));
