"""An OpenAI-compatible server over one backend. Imports starlette and uvicorn inside functions only."""
