// Embeds through each client library as its documentation says: clients.mjs URL CLIENT, texts and vectors as JSON
const MODEL = "sentence-bert-v1";

const clients = {
  async openai(baseURL, texts) {
    const { OpenAI } = await import("openai");
    const answer = await new OpenAI({ baseURL, apiKey: "none" }).embeddings.create({ model: MODEL, input: texts });
    return answer.data.map((one) => one.embedding);
  },
  async langchain(baseURL, texts) {
    const { OpenAIEmbeddings } = await import("@langchain/openai");
    const client = new OpenAIEmbeddings({ model: MODEL, apiKey: "none", configuration: { baseURL } });
    return client.embedDocuments(texts);
  },
  async "ai-sdk"(baseURL, texts) {
    const [{ embedMany }, { createOpenAICompatible }] = await Promise.all([
      import("ai"),
      import("@ai-sdk/openai-compatible"),
    ]);
    const model = createOpenAICompatible({ name: "vows", baseURL, apiKey: "none" }).textEmbeddingModel(MODEL);
    return (await embedMany({ model, values: texts })).embeddings;
  },
};

let body = "";
for await (const piece of process.stdin) body += piece;
const [url, client] = process.argv.slice(2);
process.stdout.write(JSON.stringify(await clients[client](url, JSON.parse(body))));
