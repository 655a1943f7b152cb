"""Amazon Bedrock: the Converse API, its streams, and the embedding models behind InvokeModel."""
