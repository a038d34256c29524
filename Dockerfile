FROM python:3.11-slim

ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    STREAMLIT_SERVER_ADDRESS=0.0.0.0 \
    STREAMLIT_SERVER_PORT=8000 \
    STREAMLIT_SERVER_HEADLESS=true \
    STREAMLIT_SERVER_FILE_WATCHER_TYPE=none

WORKDIR /app
COPY requirements.txt requirements-postgresql.txt ./
RUN pip install --no-cache-dir -r requirements-postgresql.txt

# The Templates page writes beside its file: in a folder of its own, which belongs to the user that runs the app and can
# be a volume. A new one is filled with what the image has there.
RUN useradd --create-home --uid 1000 app && mkdir logs templates \
    && ln -s templates/prompt_templates.json prompt_templates.json && chown -R app:app /app
COPY --chown=app:app .streamlit .streamlit
COPY --chown=app:app router router
COPY --chown=app:app pages pages
COPY --chown=app:app streamlit_app.py LICENSE ./
COPY --chown=app:app prompt_templates.json templates/

USER app
VOLUME /app/logs
EXPOSE 8000
# With API_TOKEN set, /health wants it like every other route.
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s CMD ["python", "-c", "\
import os, urllib.request as u; \
u.urlopen(u.Request('http://127.0.0.1:8000/health', headers={'Authorization': 'Bearer ' + os.getenv('API_TOKEN', '')}), timeout=4)"]
CMD ["streamlit", "run", "streamlit_app.py"]
