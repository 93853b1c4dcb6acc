"""nginx as a reverse proxy: by default it sends HTTP/1.0 and the server's address as the Host."""

import subprocess

from checks import URL, run_checks
from proxy import find_free_port, run_proxy, try_requests

PORT = find_free_port()
CONFIGURATION = """
daemon off;
pid FOLDER/pid;
error_log FOLDER/error.log;
events {}
http {
    access_log off;
    client_body_temp_path FOLDER/body;
    proxy_temp_path FOLDER/proxy;
    fastcgi_temp_path FOLDER/fastcgi;
    uwsgi_temp_path FOLDER/uwsgi;
    scgi_temp_path FOLDER/scgi;
    upstream board { server ADDRESS; }
    server {
        listen 127.0.0.1:PORT;
        location / { PROXY }
    }
}
"""
DIRECT = "proxy_pass http://ADDRESS;"
UPSTREAM = (
    "proxy_pass http://board; proxy_http_version 1.1;"
    ' proxy_set_header Connection ""; proxy_set_header Host $host;'
)


def try_proxy(directives: str) -> None:
    """Send requests through nginx."""
    configuration = CONFIGURATION.replace("PROXY", directives)
    configuration = configuration.replace("ADDRESS", URL.removeprefix("http://")).replace("PORT", str(PORT))
    url = f"http://127.0.0.1:{PORT}"
    with run_proxy(configuration, ["nginx", "-c", "FILE"], f"{url}/healthz"):
        try_requests(url)


VERSION = (
    subprocess.run(["nginx", "-v"], capture_output=True, text=True, check=True)
    .stderr.split("/")[-1]
    .split()[0]
)
run_checks(
    "nginx",
    {
        "reverse proxy, defaults": lambda: try_proxy(DIRECT),
        "reverse proxy, HTTP/1.1 with Host": lambda: try_proxy(UPSTREAM),
    },
    VERSION,
)
