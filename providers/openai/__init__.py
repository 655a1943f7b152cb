"""OpenAI's protocol towards an upstream: request, response, stream, and the vendors that speak it."""
