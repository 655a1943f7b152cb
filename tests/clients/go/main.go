// The official SDKs for Go, unchanged: each asks for words, whole and streamed, and has a tool called; what they got is one
// JSON line.  ROOT, KEY and MODEL come from the environment.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"time"

	"github.com/anthropics/anthropic-sdk-go"
	anthropicoption "github.com/anthropics/anthropic-sdk-go/option"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/responses"
	"google.golang.org/genai"
)

// Seen is what an SDK made of the answers.  Called: the arguments of the tool's call.
type Seen struct {
	Whole, Streamed, Called string
	Tokens                  int64
	Unknown                 int
}

var (
	root, key, model = os.Getenv("ROOT"), os.Getenv("KEY"), os.Getenv("MODEL")
	tool             = "read_file"
	schema           = map[string]any{
		"type":       "object",
		"properties": map[string]any{"file_path": map[string]any{"type": "string"}},
		"required":   []string{"file_path"},
	}
)

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	client := openai.NewClient(option.WithBaseURL(root+"/v1"), option.WithAPIKey(key), option.WithMaxRetries(0))
	seen := map[string]*Seen{
		"chat":      chat(ctx, client),
		"responses": respond(ctx, client),
		"messages":  messages(ctx),
		"contents":  contents(ctx),
	}
	must(os.Stdout.Write(must(json.Marshal(seen))))
}

func chat(ctx context.Context, client openai.Client) *Seen {
	seen := &Seen{}
	asked := openai.ChatCompletionNewParams{
		Model:    model,
		Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("hello")},
	}
	whole := must(client.Chat.Completions.New(ctx, asked))
	seen.Whole, seen.Tokens = whole.Choices[0].Message.Content, whole.Usage.TotalTokens
	stream := client.Chat.Completions.NewStreaming(ctx, asked)
	sum := openai.ChatCompletionAccumulator{}
	for stream.Next() {
		sum.AddChunk(stream.Current())
	}
	must(stream, stream.Err())
	seen.Streamed = sum.Choices[0].Message.Content
	withTool := asked
	withTool.Tools = []openai.ChatCompletionToolUnionParam{
		openai.ChatCompletionFunctionTool(openai.FunctionDefinitionParam{Name: tool, Parameters: schema}),
	}
	seen.Called = must(client.Chat.Completions.New(ctx, withTool)).Choices[0].Message.ToolCalls[0].Function.Arguments
	asked.Model = "no-such-model"
	var failed *openai.Error
	if _, err := client.Chat.Completions.New(ctx, asked); errors.As(err, &failed) {
		seen.Unknown = failed.StatusCode
	}
	return seen
}

func respond(ctx context.Context, client openai.Client) *Seen {
	seen := &Seen{}
	asked := responses.ResponseNewParams{
		Model: model,
		Input: responses.ResponseNewParamsInputUnion{OfString: openai.String("hello")},
	}
	whole := must(client.Responses.New(ctx, asked))
	seen.Whole, seen.Tokens = whole.OutputText(), whole.Usage.TotalTokens
	stream := client.Responses.NewStreaming(ctx, asked)
	for stream.Next() {
		if event, is := stream.Current().AsAny().(responses.ResponseTextDeltaEvent); is {
			seen.Streamed += event.Delta
		}
	}
	must(stream, stream.Err())
	withTool := asked
	withTool.Tools = []responses.ToolUnionParam{responses.ToolParamOfFunction(tool, schema, false)}
	for _, item := range must(client.Responses.New(ctx, withTool)).Output {
		if call, is := item.AsAny().(responses.ResponseFunctionToolCall); is {
			seen.Called = call.Arguments
		}
	}
	asked.Model = "no-such-model"
	var failed *openai.Error
	if _, err := client.Responses.New(ctx, asked); errors.As(err, &failed) {
		seen.Unknown = failed.StatusCode
	}
	return seen
}

func messages(ctx context.Context) *Seen {
	seen := &Seen{}
	client := anthropic.NewClient(
		anthropicoption.WithBaseURL(root), anthropicoption.WithAPIKey(key), anthropicoption.WithMaxRetries(0),
	)
	asked := anthropic.MessageNewParams{
		Model:     anthropic.Model(model),
		MaxTokens: 100,
		Messages:  []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock("hello"))},
	}
	whole := must(client.Messages.New(ctx, asked))
	seen.Whole = text(whole)
	usage := whole.Usage
	seen.Tokens = usage.InputTokens + usage.CacheReadInputTokens + usage.CacheCreationInputTokens + usage.OutputTokens
	stream := client.Messages.NewStreaming(ctx, asked)
	sum := anthropic.Message{}
	for stream.Next() {
		must(0, sum.Accumulate(stream.Current()))
	}
	must(stream, stream.Err())
	seen.Streamed = text(&sum)
	withTool := asked
	withTool.Tools = []anthropic.ToolUnionParam{anthropic.ToolUnionParamOfTool(
		anthropic.ToolInputSchemaParam{Properties: schema["properties"], Required: []string{"file_path"}}, tool,
	)}
	for _, block := range must(client.Messages.New(ctx, withTool)).Content {
		if call, is := block.AsAny().(anthropic.ToolUseBlock); is {
			seen.Called = string(call.Input)
		}
	}
	asked.Model = "no-such-model"
	var failed *anthropic.Error
	if _, err := client.Messages.New(ctx, asked); errors.As(err, &failed) {
		seen.Unknown = failed.StatusCode
	}
	return seen
}

func text(message *anthropic.Message) (said string) {
	for _, block := range message.Content {
		said += block.Text
	}
	return said
}

func contents(ctx context.Context) *Seen {
	seen := &Seen{}
	client := must(genai.NewClient(ctx, &genai.ClientConfig{
		APIKey: key, Backend: genai.BackendGeminiAPI, HTTPOptions: genai.HTTPOptions{BaseURL: root},
	}))
	whole := must(client.Models.GenerateContent(ctx, model, genai.Text("hello"), nil))
	seen.Whole, seen.Tokens = whole.Text(), int64(whole.UsageMetadata.TotalTokenCount)
	for chunk, err := range client.Models.GenerateContentStream(ctx, model, genai.Text("hello"), nil) {
		seen.Streamed += must(chunk, err).Text()
	}
	config := &genai.GenerateContentConfig{Tools: []*genai.Tool{{
		FunctionDeclarations: []*genai.FunctionDeclaration{{Name: tool, ParametersJsonSchema: schema}},
	}}}
	called := must(client.Models.GenerateContent(ctx, model, genai.Text("hello"), config))
	seen.Called = string(must(json.Marshal(called.FunctionCalls()[0].Args)))
	var failed genai.APIError
	if _, err := client.Models.GenerateContent(ctx, "no-such-model", genai.Text("hello"), nil); errors.As(err, &failed) {
		seen.Unknown = failed.Code
	}
	return seen
}
