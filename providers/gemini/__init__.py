"""Google's Gemini API, which Vertex AI speaks as well: to the canonical form and back."""
