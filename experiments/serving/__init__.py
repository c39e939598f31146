"""A demonstration of many adapters over one model: a server of OpenAI's protocol whose batches mix them."""
