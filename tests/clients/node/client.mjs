// The official SDK, unchanged: it asks the gateway for what people ask for, and prints what it got as one JSON line.
// OPENAI_BASE_URL, OPENAI_API_KEY and MODEL come from the environment, as in any program that uses it.
import OpenAI from "openai";

const client = new OpenAI({ maxRetries: 0, timeout: 20_000 });
const model = process.env.MODEL;
const messages = [{ role: "user", content: "Say hello." }];
const seen = {};

const { data: whole, request_id } = await client.chat.completions.create({ model, messages }).withResponse();
seen.chat = whole.choices[0].message.content;
seen.usage = whole.usage.total_tokens;
seen.requestId = request_id;

seen.streamed = "";
seen.streamedUsage = null;
const stream = await client.chat.completions.create({
  model, messages, stream: true, stream_options: { include_usage: true },
});
for await (const chunk of stream) {
  seen.streamed += chunk.choices[0]?.delta?.content ?? "";
  seen.streamedUsage = chunk.usage?.total_tokens ?? seen.streamedUsage;
}

seen.response = (await client.responses.create({ model, input: "Say hello." })).output_text;
seen.models = [];
for await (const row of client.models.list()) seen.models.push(row.id);

const errorOf = async (call) => call().then(() => null, (error) => ({ name: error.constructor.name, status: error.status, code: error.code }));
seen.unknownModel = await errorOf(() => client.chat.completions.create({ model: "no-such-model", messages }));
seen.badKey = await errorOf(() => new OpenAI({ apiKey: "tw-wrong", maxRetries: 0 }).models.list());

console.log(JSON.stringify(seen));
