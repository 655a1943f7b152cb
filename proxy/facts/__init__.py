"""What is known of models, and where it comes from: sources, live measurements, the field of candidates."""
