"""An OpenAI-compatible HTTP server over the engine, on Starlette and uvicorn."""
